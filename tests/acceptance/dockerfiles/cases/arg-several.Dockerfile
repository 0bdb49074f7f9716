FROM busybox
ARG A=1 B=2
LABEL l=$A$B
