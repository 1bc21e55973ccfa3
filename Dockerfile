# On a CPU, as a user without rights:
#   docker build -t earwitness .
#   docker run --rm -v "$PWD:/data" earwitness listen song.mp3
#   docker run --rm -p 127.0.0.1:8765:8765 earwitness serve --host 0.0.0.0
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md CITATION.cff ./
COPY src src
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.13-slim
RUN --mount=from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu "$(echo /wheels/*.whl)[web]" \
    && useradd --create-home --uid 1000 earwitness
USER earwitness
WORKDIR /data
ENTRYPOINT ["earwitness"]
CMD ["--help"]
