"""Providers: which protocol they speak, where they answer, what they call keys and models, what is odd of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Provider:
    """One provider. `saas.*` options override what stands here."""

    base_url: str = ""  # empty: the user says it
    model: str = ""  # without `saas.model`; empty: the user says it
    needs: tuple[str, ...] = ("api_key", "model", "base_url")  # options
    environment: str = ""  # variable that holds the key where the script gives none
    aliases: Mapping[str, str] = field(default_factory=dict)  # spellings of options, Byzer-LLM's among them
    extra: frozenset[str] = frozenset()  # options besides the common ones
    unused: Mapping[str, str] = field(default_factory=dict)  # options without effect, and why
    chat_path: str = "/chat/completions"
    protocol: str = "openai"
    reasons: bool = False  # takes `max_completion_tokens` and no sampling


_OPENAI = {"api_base": "base_url"}
_AZURE = {"azure_endpoint": "base_url", "api_base": "base_url", "azure_deployment": "model", "deployment_id": "model"}
_DASHSCOPE = "https://dashscope.aliyuncs.com/compatible-mode/v1"

PROVIDERS: dict[str, Provider] = {
    "openai": Provider(
        base_url="https://api.openai.com/v1",
        model="gpt-3.5-turbo-1106",
        environment="OPENAI_API_KEY",
        aliases=_OPENAI,
        extra=frozenset({"api_type", "organization"}),
        unused={"api_version": 'OpenAI\'s own API has none; api_type="azure" has'},
    ),
    "azure_openai": Provider(
        environment="AZURE_OPENAI_API_KEY",
        aliases=_AZURE,
        extra=frozenset({"api_version", "api_type"}),
    ),
    "azure_speech": Provider(
        model="en-US-AvaMultilingualNeural",
        needs=("api_key",),
        environment="AZURE_SPEECH_KEY",
        extra=frozenset({"service_region"}),
        protocol="azure_speech",
    ),
    "aws_bedrock": Provider(
        needs=("model",),
        environment="AWS_BEARER_TOKEN_BEDROCK",
        extra=frozenset({"aws_access_key", "aws_secret_key", "aws_session_token", "region_name"}),
        unused={"model_api_version": "Bedrock's Converse API is the same for all models"},
        protocol="bedrock",
    ),
    "volcengine": Provider(
        base_url="https://ark.cn-beijing.volces.com/api/v3",
        environment="ARK_API_KEY",
    ),
    "volcengine_speech": Provider(
        base_url="https://openspeech.bytedance.com/api/v1/tts",
        model="volcano_tts",
        needs=("api_key", "app_id"),
        extra=frozenset({"app_id"}),
        protocol="volcengine_speech",
    ),
    "qianwen": Provider(base_url=_DASHSCOPE, model="qwen-turbo", environment="DASHSCOPE_API_KEY"),
    "qianwen_vl": Provider(base_url=_DASHSCOPE, model="qwen-vl-plus", environment="DASHSCOPE_API_KEY"),
    "zhipu": Provider(base_url="https://open.bigmodel.cn/api/paas/v4", model="glm-4", environment="ZHIPUAI_API_KEY"),
    "baichuan": Provider(
        base_url="https://api.baichuan-ai.com/v1",
        model="Baichuan2-Turbo",
        environment="BAICHUAN_API_KEY",
        aliases={"baichuan_api_url": "base_url"},
    ),
    "minimax": Provider(
        base_url="https://api.minimax.chat/v1",
        model="abab5.5-chat",
        environment="MINIMAX_API_KEY",
        aliases={"api_url": "base_url"},
        extra=frozenset({"group_id"}),
        chat_path="/text/chatcompletion_v2",
    ),
    "moonshot": Provider(base_url="https://api.moonshot.cn/v1", model="moonshot-v1-8k", environment="MOONSHOT_API_KEY"),
    "deepseek": Provider(base_url="https://api.deepseek.com/v1", model="deepseek-chat", environment="DEEPSEEK_API_KEY"),
    "yi": Provider(base_url="https://api.lingyiwanwu.com/v1", model="yi-large", environment="YI_API_KEY"),
    "qianfan": Provider(
        base_url="https://qianfan.baidubce.com/v2",
        model="ERNIE-Bot-turbo",
        environment="QIANFAN_API_KEY",
        aliases={"access_token": "api_key"},
        unused={"secret_key": "Qianfan's v2 API takes one key, made under `API Key` of its console"},
    ),
    "sparkdesk": Provider(
        base_url="https://spark-api-open.xf-yun.com/v1",
        model="generalv3",
        environment="SPARKDESK_API_KEY",
        aliases={"domain": "model", "gpt_url": "base_url"},
        extra=frozenset({"api_secret"}),
        unused={"appid": "the key and the secret say which application it is", "debug": "see the model's log"},
    ),
    "siliconflow": Provider(
        base_url="https://api.siliconflow.cn/v1",
        model="black-forest-labs/FLUX.1-dev",
        environment="SILICONFLOW_API_KEY",
    ),
    "gemini": Provider(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        model="gemini-pro",
        environment="GEMINI_API_KEY",
    ),
    "claude": Provider(
        base_url="https://api.anthropic.com",
        model="claude-3-haiku-20240307",
        environment="ANTHROPIC_API_KEY",
        protocol="anthropic",
    ),
    "pangu": Provider(needs=("model", "base_url"), aliases={"api_url": "base_url"}),
    # Another gateway, vLLM, or what else speaks OpenAI's protocol.
    "sqlllm": Provider(needs=("model", "base_url"), aliases=_OPENAI),
}
_SAME = {
    "official_openai": "openai",
    "anthropic": "claude",
    "azure": "azure_speech",
    "bedrock": "aws_bedrock",
    "kimi": "moonshot",
    "doubao": "volcengine",
    "openai_compatible": "sqlllm",
    "vllm": "sqlllm",
}
PROVIDERS |= {name: PROVIDERS[other] for name, other in _SAME.items()}
PROVIDERS["reasoning_openai"] = replace(PROVIDERS["openai"], reasons=True)
PROVIDERS["chatglm"] = replace(PROVIDERS["zhipu"], unused={"public_key": "Zhipu's v4 API takes one key"})


def resolve(given: Mapping[str, str]) -> str:
    """The row that options ask for: some of Byzer-LLM's names mean one or another."""
    name = given.get("provider", "openai")
    if name in ("openai", "official_openai") and given.get("api_type", "").startswith("azure"):
        return "azure_openai"
    if name in ("volcengine", "doubao") and "app_id" in given:
        return "volcengine_speech"
    return name
