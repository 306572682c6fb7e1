# A GPU worker: vLLM, lm-eval and Ray on CUDA. Build from the root of the checkout:
#   docker build -f docker/worker.Dockerfile -t evomerge-worker .
# Not built and not run by this project's tests, which have no GPU: see docs/gpu.md.

ARG CUDA_IMAGE=nvidia/cuda:12.8.1-devel-ubuntu24.04
FROM ${CUDA_IMAGE}

# One Python and one Ray on every node of a cluster, or Ray refuses to connect them:
# keep both in step with controller.Dockerfile.
ARG RAY_VERSION=2.60.0

ENV DEBIAN_FRONTEND=noninteractive \
    PIP_NO_CACHE_DIR=1 \
    PATH=/opt/venv/bin:$PATH \
    HF_HOME=/models/huggingface \
    RAY_USAGE_STATS_ENABLED=0 \
    VLLM_NO_USAGE_STATS=1

# gcc and Python's headers: Triton and torch.compile build kernels when the engine starts.
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential python3.12 python3.12-dev python3.12-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3.12 -m venv /opt/venv

WORKDIR /opt/evomerge
# The engine first: it is the large layer, and changes seldom.
RUN pip install "vllm>=0.20" "ray[default]==${RAY_VERSION}"
COPY pyproject.toml README.md ./
COPY evomerge evomerge
COPY search_spaces search_spaces
COPY db db
RUN pip install ".[vllm,postgres]" "ray[default]==${RAY_VERSION}"

RUN useradd --create-home --uid 10001 evomerge && mkdir -p /models && chown evomerge /models
USER evomerge
VOLUME /models

# The head's address comes from outside; --block keeps the container alive as long as Ray is.
ENV RAY_HEAD=ray-head:6379
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=5 \
    CMD ray status --address "$RAY_HEAD" || exit 1
CMD ["sh", "-c", "exec ray start --address=\"$RAY_HEAD\" --block"]
