# One image for every part of Souk: `souk api`, `souk realtime`, `souk migrate`, `souk doctor`, `souk backup`.

FROM rust:1.95-bookworm AS build
WORKDIR /souk
COPY . .
# The caches keep what was compiled between builds; the binary has to leave them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/souk/target \
    cargo build --release --locked --package souk \
    && strip --strip-debug target/release/souk -o /usr/local/bin/souk

FROM debian:bookworm-slim
# Certificates and nothing else: what is not there has no holes.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/souk --create-home souk
COPY --from=build /usr/local/bin/souk /usr/local/bin/souk
USER 10001
WORKDIR /var/lib/souk
# Pictures and mails, where no outside service keeps them, and backups.
VOLUME /var/lib/souk
# A container is reached from outside, or not at all. Never publish the metrics' port.
ENV BIND=0.0.0.0 METRICS_BIND=0.0.0.0 SOUK_HOME=/var/lib/souk
EXPOSE 5000 4000 9464
# Whichever server runs here. The start may migrate a large database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["souk", "healthcheck"]
ENTRYPOINT ["souk"]
