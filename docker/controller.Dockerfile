# The controller and the command line: no torch, no engine, no GPU, a few hundred megabytes.
#   docker build -f docker/controller.Dockerfile -t evomerge-controller .
# Also the head of a Ray cluster: the controller of a search is a small actor that may live there.

FROM python:3.12-slim-bookworm

# In step with worker.Dockerfile.
ARG RAY_VERSION=2.60.0

ENV PIP_NO_CACHE_DIR=1 \
    RAY_USAGE_STATS_ENABLED=0

WORKDIR /opt/evomerge
COPY pyproject.toml README.md ./
COPY evomerge evomerge
COPY search_spaces search_spaces
COPY db db
RUN pip install ".[cluster,postgres]" "ray[default]==${RAY_VERSION}"

RUN useradd --create-home evomerge
USER evomerge
WORKDIR /work

ENTRYPOINT ["evomerge"]
CMD ["--help"]
