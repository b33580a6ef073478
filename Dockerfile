# One image for every part of Souk: `souk api`, `souk realtime`, `souk migrate`, `souk doctor`.

FROM rust:1.95-bookworm AS build
WORKDIR /souk
COPY . .
# The caches keep what was compiled between builds; the binary has to leave them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/souk/target \
    cargo build --release --locked --package souk \
    && strip --strip-debug target/release/souk -o /usr/local/bin/souk

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/souk --create-home souk
COPY --from=build /usr/local/bin/souk /usr/local/bin/souk
USER souk
WORKDIR /var/lib/souk
# Pictures and mails, where no outside service keeps them.
VOLUME /var/lib/souk
# A container is reached from outside, or not at all.
ENV BIND=0.0.0.0 SOUK_HOME=/var/lib/souk
EXPOSE 5000 4000
ENTRYPOINT ["souk"]
