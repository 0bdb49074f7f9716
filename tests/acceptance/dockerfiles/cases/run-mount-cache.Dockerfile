FROM busybox
RUN --mount=type=cache,target=/cache,sharing=locked echo > /cache/x
