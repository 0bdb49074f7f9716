FROM busybox
RUN --mount=target=/ true
