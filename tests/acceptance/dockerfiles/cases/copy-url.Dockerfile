FROM busybox
COPY https://example.invalid/x /y
