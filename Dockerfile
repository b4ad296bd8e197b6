# syntax=docker/dockerfile:1
#
# Tidegate in a small image, as nobody.
#
#   docker build -t tidegate .
#   docker run -p 80:80 -p 443:443 \
#     -v ./tidegate.toml:/etc/tidegate/tidegate.toml:ro \
#     -v ./crs:/etc/tidegate/crs:ro \
#     -v tidegate-state:/var/lib/tidegate tidegate
#
# /etc/tidegate/tidegate.toml  your document; merged over /etc/tidegate/image.toml, which puts the
#                              control API on a socket inside the container and the probes on 9181
# /etc/tidegate/conf.d         for `include = ["conf.d/*.toml"]`
# /etc/tidegate/crs            a Core Rule Set, unpacked: the directory that holds crs-setup.conf
#                              and rules/; mount it, or COPY it in an image FROM this one
# /var/lib/tidegate            state: certificates, keys, weights. Keep it in a volume.
#
# Docker lets a container's nobody bind ports 80 and 443. Where it does not (Kubernetes without
# the sysctl net.ipv4.ip_unprivileged_port_start=0), listen on 8080 and 8443.
#
# To pin the base by digest: --build-arg BUILD=rust@sha256:...

ARG BUILD=rust:1.95.0-bookworm

FROM ${BUILD} AS build
# zlib-ng, which pingora brings, is built by cmake; the roots are for upstreams and ACME issuers.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# Downloaded crates and compiled ones are kept beside the layers: a change of the sources compiles
# what it touched, a change of the lock file what it brought.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    scripts/image-root /root-of

# Nothing but the binary, the C library it was linked with, roots and a user: no second base to
# pin and to watch.
FROM scratch

LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="Edge reverse proxy and traffic manager" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /root-of/ /

# Where `tidegate status` and the other verbs find the control API.
ENV TIDEGATE_CONTROL=unix:/run/tidegate/control.sock

USER 65532:65532
VOLUME /var/lib/tidegate
EXPOSE 80 443 9181
STOPSIGNAL SIGTERM

# Over the control socket, as the same user. Docker's default of 10 s to stop cuts a longer drain
# short: --stop-timeout 40.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["/usr/local/bin/tidegate", "status"]

ENTRYPOINT ["/usr/local/bin/tidegate"]
CMD ["run", "-c", "/etc/tidegate/image.toml", "-c", "/etc/tidegate/tidegate.toml"]
