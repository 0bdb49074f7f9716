FROM busybox
ENV Ü="süß 日本"
LABEL l="$Ü"
RUN echo "日本"
