/* Tries system calls: each line of standard input is "NAME NUMBER A0 .. A5"; each line of output "NAME
 * RESULT", the errno, 0 for success, or -1 when the call ended or blocked the process. Every call is
 * made by a process of its own. Built statically by the test that uses it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int attempt(long number, const unsigned long *a) {
  pid_t child = fork();
  if (child < 0)
    return -2;
  if (child == 0) {
    struct itimerval limit = {.it_value = {.tv_usec = 200000}};
    setitimer(ITIMER_REAL, &limit, NULL);
    errno = 0;
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    _exit(result == -1 ? errno : 0);
  }
  int status;
  while (waitpid(child, &status, 0) != child)
    ;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void) {
  char name[64];
  long number;
  unsigned long a[6];
  while (scanf("%63s %ld %lx %lx %lx %lx %lx %lx", name, &number, &a[0], &a[1], &a[2], &a[3], &a[4],
               &a[5]) == 8) {
    int result = attempt(number, a);
    printf("%s %d\n", name, result);
    fflush(stdout);
  }
  return 0;
}
