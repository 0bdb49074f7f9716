FROM busybox
COPY a.txt <<EOF
EOF
