FROM busybox
SHELL ["/bin/sh", "-ec"]
RUN true
CMD x y
