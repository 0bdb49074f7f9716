FROM busybox
RUN --mount=target=/ctx cp /ctx/a.txt /copy
