FROM busybox
ENV =1
