register ScriptUDF.`` as plus1 where lang="python" and code='''
def apply(x):
    return x + 1
''';
register WaterMarkInPlace.`t` as t1 options eventTimeCol="ts" and delayThreshold="1 min";
register RandomForest.`/tmp/model` as rf;
unregister RandomForest.`/tmp/model`;
include lib.`gitee.com/a/b` where alias="b" and force="true";
include project.`./common.sql`;
