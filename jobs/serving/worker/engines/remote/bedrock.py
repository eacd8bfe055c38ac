"""Models of AWS Bedrock, through its Converse API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx
import orjson

from sqlllm.errors import OptionError, SetupError

from ....spec import ModelSpec
from . import converse
from .http import Api
from .model import ChatModel
from .options import Options

if TYPE_CHECKING:
    from botocore.credentials import Credentials

logging.getLogger("botocore.auth").setLevel(logging.INFO)  # its DEBUG lines hold the session's token
_STREAM = "application/vnd.amazon.eventstream"


class BedrockModel(ChatModel):
    """A model that answers `/model/NAME/converse`."""

    @classmethod
    def load(cls, spec: ModelSpec, options: Options) -> Self:
        """The model; nothing is asked yet. Without keys, AWS's own chain finds them where this runs."""
        region, headers, auth = options.region_name, {}, None
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        else:
            credentials, region = _credentials(options)
            auth = SigV4(credentials, region)
        api = Api(options, headers, auth=auth, at_once=spec.concurrency, workers=spec.replicas)
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        base = options.base_url or f"https://bedrock-runtime.{region}.{domain}"
        return cls(spec.name, options, api, f"{base}/model/{quote(options.model, safe='')}")

    def __init__(self, name: str, options: Options, api: Api, base: str) -> None:
        super().__init__(name, options, api)
        self._base = base

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The provider's message, as a response."""
        body = self._body(request)
        return await self._api.post(f"{self._base}/converse", body, lambda told: converse.answer(orjson.loads(told)))

    async def chunks(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The provider's events, as chunks."""
        with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        url, headers = f"{self._base}/converse-stream", {"accept": _STREAM}
        async with self._api.stream_bytes(url, self._body(request), headers=headers) as pieces:
            async for chunk in converse.chunks(self._frames(pieces), with_usage):
                yield chunk

    def _body(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._options.is_reasoning:
            request = {name: value for name, value in request.items() if name not in ("temperature", "top_p")}
        return converse.request(request, self._options.max_output_tokens)

    async def _frames(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Type and value of each event of AWS's framing."""
        from botocore.eventstream import EventStreamBuffer, ParserError

        buffer, ended = EventStreamBuffer(), False
        async for piece in pieces:
            buffer.add_data(piece)
            try:
                frames = [(frame.headers, orjson.loads(frame.payload)) for frame in buffer]
            except (ParserError, ValueError, KeyError) as error:
                raise self._api.broke_off(f"an event is none: {error}") from None
            for headers, event in frames:
                if failure := headers.get(":exception-type") or headers.get(":error-code"):
                    raise self._api.failed(str(event.get("message") or headers.get(":error-message") or failure))
                ended = ended or headers.get(":event-type") == "messageStop"
                yield headers.get(":event-type", ""), event
        if not ended:
            raise self._api.broke_off("there is no last event")


class SigV4(httpx.Auth):
    """AWS's signature of each request, as botocore makes it."""

    def __init__(self, credentials: Credentials, region: str, service: str = "bedrock") -> None:
        self._credentials, self._scope = credentials, (service, region)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign a request with the keys that hold now: those of a role are renewed over the network."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        keys = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        signed = {name: request.headers[name] for name in ("content-type",) if name in request.headers}
        copy = AWSRequest(request.method, str(request.url), signed, request.content)
        SigV4Auth(keys, *self._scope).add_auth(copy)
        request.headers.update(dict(copy.headers.items()))
        yield request


def _credentials(options: Options) -> tuple[Credentials, str]:
    """Keys and region: the options', else those that AWS's own tools would use here."""
    try:
        from botocore.credentials import Credentials
        from botocore.session import get_session
    except ImportError:
        raise SetupError("aws_bedrock needs botocore", cure="pip install 'sqlllm[bedrock]'") from None
    if options.aws_access_key:
        token = options.aws_session_token or None
        return Credentials(options.aws_access_key, options.aws_secret_key, token), options.region_name
    session = get_session()
    found, region = session.get_credentials(), options.region_name or session.get_config_variable("region")
    if not found:
        cure = "Write saas.aws_access_key and saas.aws_secret_key, saas.api_key, or let AWS's own settings say it."
        raise OptionError("there are no keys of AWS where the model runs", cure=cure, key="saas.aws_access_key")
    if not region:
        raise OptionError("aws_bedrock needs saas.region_name", cure='Write: `saas.region_name`="us-east-1"')
    return found, region
