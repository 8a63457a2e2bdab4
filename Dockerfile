# fada_tf and its programs, for CPUs or, with --build-arg EXTRA=gpu, for NVIDIA GPUs (the driver is the host's).
#   docker build --tag fada_tf .
#   docker run --rm --volume "$PWD:/work" --user "$(id --user):$(id --group)" fada_tf train --help
ARG PYTHON=3.12

# The wheel is built apart, so that the image holds neither the sources nor what builds them.
FROM python:${PYTHON}-slim AS build
WORKDIR /sources
COPY setup.py setup.cfg pyproject.toml README.md LICENSE ./
COPY fada_tf fada_tf
COPY configs configs
COPY serving serving
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# Extras of setup.cfg, with commas between them.
ARG EXTRA=serving
COPY --from=build /wheels /wheels
RUN wheel="$(echo /wheels/*.whl)" \
    && python -m pip install --no-cache-dir "${wheel}[${EXTRA}]" \
    && rm -r /wheels \
    && useradd --create-home --uid 1000 fada \
    && install --directory --owner=fada /work
# Of whatever --user starts the container with: where Keras and matplotlib keep what they download and compute.
ENV HOME=/tmp PYTHONUNBUFFERED=1
USER fada
WORKDIR /work
ENTRYPOINT ["fada-tf"]
CMD ["--help"]
