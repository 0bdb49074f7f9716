FROM busybox
RUN test "$http_proxy" = x
