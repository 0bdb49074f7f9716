FROM busybox AS base
ONBUILD COPY a.txt /from-base
ONBUILD WORKDIR /ob
FROM base AS mid
RUN true
FROM mid
