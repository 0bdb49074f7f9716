FROM busybox
RUN --mount=foo true
