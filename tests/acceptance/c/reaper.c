/* The reaper of Testcontainers: clients connect to port 8080 and send lines of filters, such as
 * label=org.testcontainers.session-id=1&label=b=c. Each is acknowledged. When the last client has gone and
 * none came back for a while, everything that matches is removed by the engine behind
 * /var/run/docker.sock, and the reaper ends. */
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char filters[64][1024];
static int count;
static char answer[1 << 22];

static void ask(const char *method, const char *path) {
  struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/var/run/docker.sock"};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  size_t length = 0;
  ssize_t got;
  answer[0] = 0;
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
    dprintf(fd, "%s %s HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n", method, path);
    while (length < sizeof answer - 1 && (got = read(fd, answer + length, sizeof answer - 1 - length)) > 0) length += got;
    answer[length] = 0;
  }
  close(fd);
  printf("%s %s: %.12s\n", method, path, answer);
}

/* {"label":["a=b"]} of label=a=b&label=…, both as parts of an address */
static void query(char *to, size_t size, const char *line, const char *more) {
  char copy[1024], *part, *rest = copy;
  size_t used = snprintf(to, size, "%%7B%s%%22label%%22%%3A%%5B", more);
  const char *comma = "";
  strcpy(copy, line);
  while ((part = strsep(&rest, "&"))) {
    if (strncmp(part, "label=", 6)) continue;
    used += snprintf(to + used, size - used, "%s%%22%s%%22", comma, part + 6);
    comma = "%2C";
  }
  snprintf(to + used, size - used, "%%5D%%7D");
}

static void reap(const char *line) {
  char by[2048], path[4096], *at;
  query(by, sizeof by, line, "");
  snprintf(path, sizeof path, "/containers/json?all=1&filters=%s", by);
  ask("GET", path);
  char (*ids)[65] = calloc(1000, 65);
  int found = 0;
  for (at = answer; found < 1000 && (at = strstr(at, "\"Id\":\"")); at += 6) snprintf(ids[found++], 65, "%.64s", at + 6);
  for (int i = 0; i < found; i++) {
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", ids[i]);
    ask("DELETE", path);
  }
  free(ids);
  snprintf(path, sizeof path, "/networks/prune?filters=%s", by);
  ask("POST", path);
  query(by, sizeof by, line, "%22all%22%3A%5B%22true%22%5D%2C");
  snprintf(path, sizeof path, "/volumes/prune?filters=%s", by);
  ask("POST", path);
}

int main(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8080)};
  struct pollfd fds[64] = {{.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN}};
  const char *given = getenv("RYUK_RECONNECTION_TIMEOUT");
  int open = 1, seen = 0, wait = given ? atoi(given) * 1000 : 10000, one = 1;
  setsockopt(fds[0].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fds[0].fd, (struct sockaddr *)&at, sizeof at) || listen(fds[0].fd, 16)) return 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("reaper Started! port=8080\n");
  while (poll(fds, open, seen && open == 1 ? wait : -1) > 0) {
    if (fds[0].revents && open < 64) fds[open++] = (struct pollfd){.fd = accept(fds[0].fd, NULL, NULL), .events = POLLIN};
    for (int i = 1; i < open; i++) {
      if (!fds[i].revents) continue;
      fds[i].revents = 0;
      char line[1024];
      ssize_t got = read(fds[i].fd, line, sizeof line - 1);
      if (got <= 0) {
        close(fds[i].fd);
        fds[i--] = fds[--open];
        seen = 1;
        continue;
      }
      line[got] = 0;
      line[strcspn(line, "\r\n")] = 0;
      if (line[0] && count < 64) strcpy(filters[count++], line);
      if (write(fds[i].fd, "ACK\n", 4) != 4) perror("write");
    }
  }
  for (int i = 0; i < count; i++) reap(filters[i]);
  return 0;
}
