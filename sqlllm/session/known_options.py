"""The options of formats, by Spark's own lists and ours. Spark itself ignores one that it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from sqlllm.errors import OptionError, suggest

_FILES_READ = (
    "basePath ignoreCorruptFiles ignoreMissingFiles modifiedAfter modifiedBefore pathGlobFilter recursiveFileLookup"
    " timeZone"
)
_FILES_WRITTEN = "fileNum maxRecordsPerFile partitionOverwriteMode timeZone"
_BAD_ROWS = "columnNameOfCorruptRecord mode"
_DATES = (
    "dateFormat enableDateTimeParsingFallback locale preferDate timeFormat timestampFormat timestampNTZFormat timeZone"
)
_DOCUMENTS = "maxBytes maxPages ocr ocrPrompt password timeout"
_REBASE = "datetimeRebaseMode int96RebaseMode"

# The options of one format: of its reader, of its writer; those that both have stand in both.
_OF: dict[str, tuple[str, str]] = {
    "avro": (
        "avroSchema avroSchemaUrl datetimeRebaseMode enableStableIdentifiersForUnionType ignoreExtension mode"
        " positionalFieldMatching recursiveFieldMaxDepth stableIdentifierPrefixForUnionType",
        "avroSchema avroSchemaUrl compression positionalFieldMatching recordName recordNamespace",
    ),
    "binaryfile": ("", ""),
    "csv": (
        "charset charToEscapeQuoteEscaping codec columnPruning comment compression delimiter emptyValue encoding"
        " enforceSchema escape extension header ignoreLeadingWhiteSpace ignoreTrailingWhiteSpace inferSchema"
        " inputBufferSize lineSep maxCharsPerColumn maxColumns multiLine nanValue negativeInf nullValue"
        " positiveInf quote samplingRatio sep singleVariantColumn skipFirstNLines skipLastNLines"
        f" unescapedQuoteHandling {_BAD_ROWS} {_DATES}",
        "charset charToEscapeQuoteEscaping codec comment compression dateFormat delimiter emptyValue encoding"
        " escape escapeQuotes extension header ignoreLeadingWhiteSpace ignoreTrailingWhiteSpace lineSep locale"
        " nanValue negativeInf nullValue positiveInf quote quoteAll sep timeFormat timestampFormat"
        " timestampNTZFormat timeZone",
    ),
    "documents": (_DOCUMENTS, ""),
    "excel": (
        "comment dataAddress header sheet skipFirstNLines useHeader "
        # Of Byzer-SQL's reader: types are always inferred, empty cells are NULL, a file is read in one go.
        "addColorColumns excerptSize inferSchema maxRowsInMemory timestampFormat treatEmptyValuesAsNulls"
        " usePlainNumberFormat",
        "header sheet useHeader",
    ),
    "image": ("dropInvalid", ""),
    "index": ("asOf version", "document filters key model text vector"),
    "json": (
        "allowBackslashEscapingAnyCharacter allowComments allowNonNumericNumbers allowNumericLeadingZeros"
        " allowSingleQuotes allowUnquotedControlChars allowUnquotedFieldNames charset compression"
        " dropFieldIfAllNull encoding explodeEmbeddedArray inferSchema inferTimestamp lineSep multiLine"
        f" prefersDecimal primitivesAsString samplingRatio singleVariantColumn useUnsafeRow {_BAD_ROWS} {_DATES}",
        "charset compression dateFormat encoding ignoreNullFields lineSep locale pretty sortKeys timeFormat"
        " timestampFormat timestampNTZFormat timeZone writeNonAsciiCharacterAsCodePoint",
    ),
    "kafka": (
        "assign endingOffsets endingOffsetsByTimestamp endingTimestamp failOnDataLoss fetchOffset.numRetries"
        " fetchOffset.retryIntervalMs groupIdPrefix includeHeaders kafkaConsumer.pollTimeoutMs"
        " maxRecordsPerPartition minPartitions startingOffsets startingOffsetsByTimestamp"
        " startingOffsetsByTimestampStrategy startingTimestamp subscribe subscribePattern topic",
        "includeHeaders topic",
    ),
    "libsvm": ("numFeatures vectorType", "compression"),
    "orc": ("compression mergeSchema", "compression"),
    "pdf": (_DOCUMENTS, ""),
    "parquet": (f"compression mergeSchema {_REBASE}", "compression"),
    "text": ("compression encoding lineSep wholetext", "compression encoding lineSep"),
    "xml": (
        "arrayElementName attributePrefix charset compression declaration encoding excludeAttribute"
        " ignoreNamespace ignoreSurroundingSpaces inferSchema multiLine nullValue prefersDecimal rootTag rowTag"
        " rowValidationXSDPath samplingRatio singleVariantColumn useLegacyXMLParser valueTag wildcardColName"
        f" {_BAD_ROWS} {_DATES}",
        "arrayElementName attributePrefix charset compression dateFormat declaration encoding indent locale"
        " nullValue rootTag rowTag timeFormat timestampFormat timestampNTZFormat timeZone validateName valueTag",
    ),
}
_DATABASE = (
    "batchsize cascadeTruncate connectionProvider createTableColumnTypes createTableOptions customSchema"
    " dbtable directQuery driver fetchsize hint isolationLevel keytab lowerBound numPartitions partitionColumn"
    " password preferTimestampNTZ preferTimestampNanos prePtnArray prePtnDelimiter prepareQuery principal"
    " pushDownAggregate pushDownJoin pushDownLimit pushDownOffset pushDownPredicate pushDownTableSample query"
    " queryTimeout refreshKrb5Config sessionInitStatement tableComment truncate upperBound url user"
)
_NOT_FILES = ("excel", "kafka")
_SAME = {"csvstr": "csv", "hive": "parquet", "jsonstr": "json"}
_ABSENT = {
    ("jdbc", "idcol"): ("Byzer's upsert is not here", "Save to a second table, and merge it by run command as JDBC."),
    ("jdbc", "upsert"): ("Byzer's upsert is not here", "Save to a second table, and merge it by run command as JDBC."),
}


def known(format_: str, *, writing: bool) -> list[str] | None:
    """The options of a format, in alphabetical order; None for a format whose options only Spark knows."""
    name = _SAME.get(format_.lower(), format_.lower())
    if name == "jdbc":
        return sorted([*_DATABASE.split(), "fileNum"])
    if name not in _OF:
        return None
    if name == "index":
        return sorted(_OF[name][writing].split())
    own = _OF[name][writing]
    files = "" if name in _NOT_FILES or format_.lower().endswith("str") else (_FILES_READ, _FILES_WRITTEN)[writing]
    return sorted({*own.split(), *files.split(), *(["fileNum", "incremental"] if writing else [])})


def checked(format_: str, options: Mapping[str, str], *, writing: bool) -> tuple[dict[str, str], list[str]]:
    """The options under their own names, in whatever case they are written; and those that have no effect here,
    since they belong to the other of load and save.

    A key with a dot is for Hadoop or for the source itself, such as `parquet.block.size` and `kafka.group.id`. A
    database's driver has keys of its own: of those, only a key very close to a known one is wrong. Raises OptionError
    for any other unknown key.
    """
    names = known(format_, writing=writing)
    if names is None:
        return dict(options), []
    here = {name.lower(): name for name in names}
    other = {name.lower() for name in known(format_, writing=not writing) or ()}
    found, idle = {}, []
    for key, value in options.items():
        low = key.lower()
        if (format_.lower(), low) in _ABSENT:
            why, cure = _ABSENT[format_.lower(), low]
            raise OptionError(f"{key}: {why}", cure=cure, key=key)
        if low in other and low not in here:
            idle.append(key)
        elif low not in here and "." not in key and (format_.lower() != "jdbc" or _almost(low, here)):
            raise OptionError(f"{format_} has no option {key}", cure=suggest(key, names, what="options"), key=key)
        found[here.get(low, key)] = value
    return found, idle


def _almost(key: str, names: Iterable[str]) -> bool:
    return bool(get_close_matches(key, names, n=1, cutoff=0.85))
