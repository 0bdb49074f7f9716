FROM busybox
ONBUILD RUN <<EOF
echo later
EOF
ONBUILD COPY . /src
