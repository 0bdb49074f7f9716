//! Terminals: `docker run -it`, `attach` and `exec -it`, driven through a pseudo terminal.

use arca_testkit::{Engine, Pty, eventually};

#[test]
fn a_shell_on_a_terminal() {
    let engine = Engine::start();
    let mut pty = Pty::spawn(&engine.docker_command(&["run", "--rm", "-it", "busybox", "sh"]));
    pty.expect("# ");
    pty.send("echo $((6*7))\n");
    pty.expect("42\r\n");
    pty.send("tty; stty size\n");
    pty.expect("/dev/pts/0\r\n24 80\r\n");
    pty.send("exit 9\n");
    assert_eq!(pty.wait(), 9);
}

#[test]
fn the_terminal_is_resized_with_the_clients() {
    let engine = Engine::start();
    let mut pty = Pty::spawn(&engine.docker_command(&["run", "--rm", "-it", "busybox", "sh"]));
    pty.expect("# ");
    resized(&mut pty);
    pty.send("exit\n");
    assert_eq!(pty.wait(), 0);
}

/// Resizes until the size arrives: a client hears of it only once it listens.
fn resized(pty: &mut Pty) {
    eventually("the size arrives", || {
        pty.resize(98, 33);
        pty.resize(99, 33);
        pty.send("stty size; echo st''op\n");
        pty.expect("stop\r\n").contains("33 99").then_some(())
    });
}

#[test]
fn control_c_interrupts_the_command() {
    let engine = Engine::start();
    let name = engine.name("interrupted");
    let run = ["run", "--rm", "-it", "--name", &name, "busybox", "sh"];
    let mut pty = Pty::spawn(&engine.docker_command(&run));
    pty.expect("# ");
    pty.send("sleep 600\n");
    // Until the command runs, an interrupt is the shell's, which forgets it.
    eventually("the command runs", || {
        let top = engine.docker(&["top", &name]).stdout;
        top.contains("sleep 600").then_some(())
    });
    pty.send("\u{3}");
    pty.expect("^C");
    pty.expect("# ");
    pty.send("echo st''ill here\n");
    pty.expect("still here\r\n");
    // In front of its prompt the terminal is not the shell's yet: an end of input typed there becomes a zero byte.
    pty.expect("# ");
    pty.send("\u{4}");
    // The shell's last status is the interrupted command's or the echo's.
    assert_eq!(pty.wait(), 0);
}

#[test]
fn detach_keys_leave_the_container_running_and_attach_comes_back() {
    let engine = Engine::start();
    let name = engine.name("detach");
    let mut pty =
        Pty::spawn(&engine.docker_command(&["run", "-it", "--name", &name, "busybox", "sh"]));
    pty.expect("# ");
    pty.send("x=re''membered\n");
    pty.expect("# ");
    pty.send("\u{10}\u{11}");
    assert_eq!(pty.wait(), 0);
    assert_eq!(engine.inspect(&name)["State"]["Running"], true);
    let mut pty =
        Pty::spawn(&engine.docker_command(&["attach", "--detach-keys", "ctrl-a,d", &name]));
    pty.send("\necho $x\n");
    pty.expect("remembered\r\n");
    pty.send("\u{1}d");
    pty.wait();
    let mut pty = Pty::spawn(&engine.docker_command(&["attach", &name]));
    pty.send("\nexit 5\n");
    pty.expect("exit 5");
    assert_eq!(pty.wait(), 5);
    assert_eq!(engine.inspect(&name)["State"]["ExitCode"], 5);
}

#[test]
fn exec_on_a_terminal() {
    let engine = Engine::start();
    let name = engine.name("exec");
    engine
        .docker(&["run", "-d", "--name", &name, "busybox", "sleep", "600"])
        .ok();
    let mut pty = Pty::spawn(&engine.docker_command(&["exec", "-it", &name, "sh"]));
    pty.expect("# ");
    resized(&mut pty);
    pty.send("exit 6\n");
    assert_eq!(pty.wait(), 6);
    assert_eq!(engine.inspect(&name)["State"]["Running"], true);
}

#[test]
fn several_clients_share_one_terminal() {
    let engine = Engine::start();
    let name = engine.name("shared");
    engine
        .docker(&["run", "-dit", "--name", &name, "busybox", "sh"])
        .ok();
    let mut one = Pty::spawn(&engine.docker_command(&["attach", &name]));
    let mut two = Pty::spawn(&engine.docker_command(&["attach", &name]));
    one.send("\n");
    one.expect("# ");
    two.send("\n");
    two.expect("# ");
    one.send("echo for $((1+1))\n");
    one.expect("for 2\r\n");
    two.expect("for 2\r\n");
    two.send("exit\n");
    assert_eq!(one.wait(), 0);
    assert_eq!(two.wait(), 0);
}

#[test]
fn the_log_of_a_terminal_is_raw() {
    let engine = Engine::start();
    let name = engine.name("raw");
    engine
        .docker(&["run", "-dt", "--name", &name, "busybox", "echo", "hi"])
        .ok();
    engine.docker(&["wait", &name]).ok();
    assert_eq!(engine.docker(&["logs", &name]).expect(0).stdout, "hi\r\n");
}
