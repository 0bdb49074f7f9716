FROM busybox
RUN --mont=type=tmpfs true
