# The controller, the server and the command line: no torch, no engine, no GPU, a few hundred megabytes.
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
RUN pip install ".[cluster,postgres,server]" "ray[default,client]==${RAY_VERSION}"

RUN useradd --create-home --uid 10001 evomerge && mkdir -p /work && chown evomerge /work
USER evomerge
WORKDIR /work

# What runs here says in its own way whether it is well (docker/compose.yml); alone, it is a command.
HEALTHCHECK NONE

ENTRYPOINT ["evomerge"]
CMD ["--help"]
