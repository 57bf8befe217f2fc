# The database exporter, as a user without rights.
ARG BASE=python:3.13-slim
FROM ${BASE}

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY exporter /src/exporter
RUN python3 -m venv /opt/database-exporter \
    && /opt/database-exporter/bin/pip install --no-cache-dir -c /src/constraints.txt '/src[compare]' \
    && rm -rf /src

ENV PATH=/opt/database-exporter/bin:$PATH PYTHONUNBUFFERED=1
USER 65534:65534
EXPOSE 9187
# Asks no database. Where it listens elsewhere, docker run --health-cmd says where.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9187/-/healthy', timeout=3)"]
ENTRYPOINT ["database-exporter"]
CMD ["serve"]
