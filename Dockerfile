# Two stages on one base: the first installs what pyproject.toml asks for, the second holds only the result.
FROM python:3.13-slim AS builder

# A package index other than pip's default; an argument that is not given is not set.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /src
RUN python -m venv /opt/chronoledger

# Dependencies first: they change less often than the code, and their layer is kept meanwhile.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
      print(*project['dependencies'], *project['optional-dependencies']['s3'], sep='\n')" > requirements.txt \
 && /opt/chronoledger/bin/pip install --quiet -c constraints.txt -r requirements.txt

COPY . .
RUN /opt/chronoledger/bin/pip install --quiet --no-deps . \
 && /opt/chronoledger/bin/pip check


FROM python:3.13-slim

# A fixed numeric id, so that volumes and Kubernetes' runAsUser can name it.
RUN groupadd --gid 10001 chronoledger \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/chronoledger --shell /usr/sbin/nologin \
      chronoledger \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/chronoledger /var/lib/chronoledger/archives /var/log/chronoledger

COPY --from=builder /opt/chronoledger /opt/chronoledger

ENV PATH=/opt/chronoledger/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    APP_MODE=release \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/var/lib/chronoledger \
    LOG_DIR=/var/log/chronoledger

WORKDIR /var/lib/chronoledger
USER 10001:10001
EXPOSE 8080

# http.client, because urllib would go through a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
health = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); \
health.request('GET', '/health'); \
sys.exit(health.getresponse().status != 200)"]

ENTRYPOINT ["chronoledger"]
CMD ["serve"]
