# recsweep with PostgreSQL's client, at the versions that were tested; see docs/clusters.md
FROM python:3.11-slim
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY recsweep /source/recsweep
COPY hydra_plugins /source/hydra_plugins
COPY conf /source/conf
RUN pip install --no-cache-dir -c /source/constraints.txt '/source[postgres]'
RUN useradd --create-home --uid 1000 sweeper && mkdir /work /tracking && chown sweeper /work /tracking
USER 1000
WORKDIR /work
ENTRYPOINT ["python", "-m", "recsweep"]
