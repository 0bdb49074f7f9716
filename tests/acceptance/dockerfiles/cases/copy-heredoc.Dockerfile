FROM busybox
ENV V=1
COPY <<a <<'b' /h/
$V
a
$V
b
