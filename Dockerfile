# The gateway alone: Node, its code, and the libraries that it runs with. No shell, no package manager, not root; its root file system can be
# read-only.
# How to run it: docs/install.md.

FROM node:24-slim AS build
WORKDIR /build
# No package's script runs here: the image brings the Node that "npm ci" would fetch by one.
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN node_modules/.bin/tsc -p tsconfig.build.json && mkdir data
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM gcr.io/distroless/nodejs24-debian13:nonroot
# Young objects in 8 MB instead of 16: with 1,000 streams the gateway takes 158 MB instead of 259, at no more CPU time (docs/performance.md).
ENV NODE_ENV=production NODE_OPTIONS=--max-semi-space-size=8
WORKDIR /app
# What root owns, the gateway's user cannot change.
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY package.json LICENSE ./
COPY bin bin
COPY config config
# A volume that is new takes its owner from here. Engines mount it, for reading, under the same path.
COPY --from=build --chown=65532:65532 /build/data /var/lib/stepgate
VOLUME /var/lib/stepgate
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# It is alive; whether an engine is up is what GET /ready tells. With `tls` in the config write another, or turn this off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["/nodejs/bin/node", "-e", "fetch('http://127.0.0.1:8080/health').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/nodejs/bin/node", "/app/bin/stepgate.js"]
CMD ["serve", "--config", "/etc/stepgate/stepgate.yaml"]
