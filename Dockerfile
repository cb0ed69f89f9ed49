# syntax=docker/dockerfile:1
# The server in a container: target cpu for any machine, target gpu for one with an NVIDIA driver.
# Packages are those of .ci/constraints.txt, which the tests run with.

FROM python:3.11-slim-trixie AS base
ENV PATH=/opt/geoindex/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 10001 geoindex
WORKDIR /home/geoindex

FROM base AS build
WORKDIR /src
RUN python -m venv /opt/geoindex
COPY .ci/constraints.txt .ci/constraints.txt

FROM build AS build-gpu
COPY . .
RUN pip install --no-cache-dir -c .ci/constraints.txt '.[serve]'

FROM build AS build-cpu
# PyTorch's own index of builds for processors makes the image several GB smaller; without it the usual builds are taken.
ARG TORCH_INDEX
COPY pyproject.toml scripts/cpu_requirements.py ./
RUN python cpu_requirements.py pyproject.toml serve openvino > requirements.txt \
 && grep -E '^torch(vision)?\b' requirements.txt > torch.txt \
 && pip install --no-cache-dir -c .ci/constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch.txt \
 && pip install --no-cache-dir -c .ci/constraints.txt -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps .

FROM base AS server
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["geoindex"]
CMD ["serve", "--index", "/index", "--host", "0.0.0.0", "--token-file", "/run/secrets/token"]

FROM server AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/geoindex /opt/geoindex
USER 10001

FROM server AS cpu
COPY --from=build-cpu /opt/geoindex /opt/geoindex
USER 10001
