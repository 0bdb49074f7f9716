FROM busybox AS a
ENV X=1
USER 7
FROM a
RUN id -u > /tmp-id || true
