FROM busybox
HEALTHCHECK --retries=-2 CMD x
