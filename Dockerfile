# The demo site, and the client that tries it: see docker-compose.yml.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
WORKDIR /asyncstack
COPY pyproject.toml README.md LICENSE ./
COPY asyncstack asyncstack
COPY demos demos
RUN pip install --no-cache-dir .
