FROM busybox
HEALTHCHECK --interval=90s --timeout=1.5s --start-period=2m --start-interval=500ms --retries=4 CMD ["x", "y"]
