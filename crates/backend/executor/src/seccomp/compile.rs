//! The compiler: for each architecture a binary search over the numbers of system calls, whose
//! leaves return an action or look at arguments first.
//!
//! The kernel runs the program for each call of the container (after its own cache of calls that
//! are always allowed), so the depth matters: about eight comparisons instead of hundreds.

use std::collections::BTreeMap;

use arca_sys::seccomp::Instruction;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::Filter;
use super::numbers::{Machine, X32};
use crate::error::ExecError;

// linux/bpf_common.h, linux/seccomp.h
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
const KILL_THREAD: u32 = 0;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
/// `SECCOMP_RET_ERRNO` with `ENOSYS`.
const UNKNOWN_CALL: u32 = 0x0005_0000 | 38;
/// The kernel's limit (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

type Code = Vec<Instruction>;

/// Compiles `seccomp`.
///
/// # Errors
/// When it asks for what is not supported: a listener, an architecture that is not known.
pub(crate) fn compile(seccomp: &LinuxSeccomp) -> Result<Filter, ExecError> {
    if seccomp.listener_path().is_some() {
        return Err(ExecError::other("seccomp: listenerPath is not supported"));
    }
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
    let mut sections: Vec<(u32, Vec<Machine>)> = Vec::new();
    let listed = seccomp.architectures().iter().flatten().copied();
    for arch in std::iter::once(Arch::ScmpArchNative).chain(listed) {
        let machine = Machine::new(arch)?;
        match sections
            .iter_mut()
            .find(|(audit, _)| *audit == machine.audit)
        {
            Some((_, machines)) if machines.contains(&machine) => {}
            Some((_, machines)) => machines.push(machine),
            None => sections.push((machine.audit, vec![machine])),
        }
    }
    let mut program = vec![plain(LOAD_WORD, ARCHITECTURE)];
    for (audit, machines) in sections {
        let section = section(seccomp, &machines, default)?;
        program.push(Instruction {
            code: JUMP_EQUAL,
            yes: 1,
            no: 0,
            operand: audit,
        });
        program.push(plain(JUMP, distance(section.len())?));
        program.extend(section);
    }
    program.push(plain(RETURN, KILL_THREAD));
    if program.len() > LONGEST {
        return Err(ExecError::other("seccomp: the profile is too large"));
    }
    Ok(Filter {
        flags: flags(seccomp)?,
        program,
    })
}

/// The flags asked for; `SPEC_ALLOW` when none are named, as runc does since 1.2.
fn flags(seccomp: &LinuxSeccomp) -> Result<u32, ExecError> {
    let Some(named) = seccomp.flags() else {
        return Ok(4);
    };
    named.iter().try_fold(0, |all, flag| match flag {
        // The process has one thread when the filter is loaded.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Ok(all),
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Ok(all | 2),
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Ok(all | 4),
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Err(ExecError::other(
            "seccomp: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a listener",
        )),
    })
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, ExecError> {
    if action == LinuxSeccompAction::ScmpActNotify {
        return Err(ExecError::other(
            "seccomp: SCMP_ACT_NOTIFY is not supported",
        ));
    }
    Ok(action.as_u32(errno.map(|errno| errno & 0xffff)))
}

/// The code for the architectures that share one value of `seccomp_data.arch`.
fn section(seccomp: &LinuxSeccomp, machines: &[Machine], default: u32) -> Result<Code, ExecError> {
    let mut calls: BTreeMap<u32, Vec<&LinuxSyscall>> = BTreeMap::new();
    for rule in seccomp.syscalls().iter().flatten() {
        for machine in machines {
            for number in rule.names().iter().filter_map(|name| machine.number(name)) {
                calls.entry(number).or_default().push(rule);
            }
        }
    }
    let without_x32 = machines
        .first()
        .is_some_and(|machine| machine.audit == 0xc000_003e)
        && !machines.iter().any(Machine::is_x32);
    let mut steps = vec![(0, vec![plain(RETURN, default)])];
    let x32_calls = calls.split_off(&X32);
    add_calls(&mut steps, &calls, seccomp, default)?;
    if !without_x32 && !x32_calls.is_empty() {
        steps.push((X32, vec![plain(RETURN, default)]));
        add_calls(&mut steps, &x32_calls, seccomp, default)?;
    }
    if without_x32 {
        steps.push((X32, vec![plain(RETURN, KILL_THREAD)]));
    }
    steps.dedup_by(|later, earlier| later.1 == earlier.1);
    let mut code = vec![plain(LOAD_WORD, NUMBER)];
    code.extend(tree(&steps)?);
    Ok(code)
}

/// Adds a step for each call and one behind it, up to what is newer than the profile: for that the
/// kernel's own answer is given, as runc does, so that programs fall back to what they did before.
fn add_calls(
    steps: &mut Vec<(u32, Code)>,
    calls: &BTreeMap<u32, Vec<&LinuxSyscall>>,
    seccomp: &LinuxSeccomp,
    default: u32,
) -> Result<(), ExecError> {
    for (number, rules) in calls {
        let leaf = leaf(rules, default)?;
        if steps.last().is_some_and(|(start, _)| start == number) {
            steps.pop();
        }
        steps.push((*number, leaf));
        steps.push((number.saturating_add(1), vec![plain(RETURN, default)]));
    }
    if let Some((_, newer)) = steps
        .last_mut()
        .filter(|_| !calls.is_empty() && denies(seccomp))
    {
        *newer = vec![plain(RETURN, UNKNOWN_CALL)];
    }
    Ok(())
}

/// Says whether the default refuses calls with an error that is not the kernel's for unknown ones.
fn denies(seccomp: &LinuxSeccomp) -> bool {
    !matches!(
        seccomp.default_action(),
        LinuxSeccompAction::ScmpActAllow
            | LinuxSeccompAction::ScmpActLog
            | LinuxSeccompAction::ScmpActTrace
    )
}

/// What to do with one call: the rules that look at its arguments, then the one that does not, then
/// the default.
fn leaf(rules: &[&LinuxSyscall], default: u32) -> Result<Code, ExecError> {
    let mut code = Code::new();
    let mut last = default;
    for rule in rules {
        let result = action(rule.action(), rule.errno_ret())?;
        let arguments = rule.args().as_deref().unwrap_or_default();
        if result == default {
            continue;
        }
        if arguments.is_empty() {
            last = result;
            continue;
        }
        // libseccomp takes each argument once in a rule; runc makes a rule of each comparison then.
        let indices: std::collections::HashSet<usize> =
            arguments.iter().map(LinuxSeccompArg::index).collect();
        if indices.len() == arguments.len() {
            code.extend(conditional(arguments, result)?);
        } else {
            for argument in arguments {
                code.extend(conditional(std::slice::from_ref(argument), result)?);
            }
        }
    }
    code.push(plain(RETURN, last));
    Ok(code)
}

/// Returns `result` when all comparisons hold, and goes on behind itself when one does not.
fn conditional(arguments: &[LinuxSeccompArg], result: u32) -> Result<Code, ExecError> {
    let mut body = vec![plain(RETURN, result)];
    for argument in arguments.iter().rev() {
        let mut code = comparison(argument, body.len())?;
        code.append(&mut body);
        body = code;
    }
    Ok(body)
}

/// Falls through when the comparison holds, and jumps over `body` instructions more when not.
///
/// Arguments have 64 bits and the machine has 32: the high half decides first.
fn comparison(argument: &LinuxSeccompArg, body: usize) -> Result<Code, ExecError> {
    let (load_high, load_low) = loads(argument)?;
    let fail = |further: usize| u8::try_from(body + further).map_err(|_far| too_far());
    let (high, low) = halves(argument.value());
    let by_halves = |middle: [Option<Instruction>; 2], last: Instruction| -> Code {
        let start = std::iter::once(load_high).chain(middle.into_iter().flatten());
        start.chain([load_low, last]).collect()
    };
    Ok(match argument.op() {
        LinuxSeccompOperator::ScmpCmpEq => {
            let high_equal = jump(JUMP_EQUAL, 0, fail(2)?, high);
            by_halves([None, Some(high_equal)], jump(JUMP_EQUAL, 0, fail(0)?, low))
        }
        LinuxSeccompOperator::ScmpCmpNe => {
            let high_equal = jump(JUMP_EQUAL, 0, 2, high);
            by_halves([None, Some(high_equal)], jump(JUMP_EQUAL, fail(0)?, 0, low))
        }
        operator @ (LinuxSeccompOperator::ScmpCmpGt | LinuxSeccompOperator::ScmpCmpGe) => {
            let strict = operator == LinuxSeccompOperator::ScmpCmpGt;
            let last = if strict {
                JUMP_GREATER
            } else {
                JUMP_GREATER_EQUAL
            };
            let high_greater = jump(JUMP_GREATER, 3, 0, high);
            let high_equal = jump(JUMP_EQUAL, 0, fail(2)?, high);
            by_halves(
                [Some(high_greater), Some(high_equal)],
                jump(last, 0, fail(0)?, low),
            )
        }
        operator @ (LinuxSeccompOperator::ScmpCmpLt | LinuxSeccompOperator::ScmpCmpLe) => {
            let strict = operator == LinuxSeccompOperator::ScmpCmpLt;
            let last = if strict {
                JUMP_GREATER_EQUAL
            } else {
                JUMP_GREATER
            };
            let high_greater = jump(JUMP_GREATER, fail(3)?, 0, high);
            let high_equal = jump(JUMP_EQUAL, 0, 2, high);
            by_halves(
                [Some(high_greater), Some(high_equal)],
                jump(last, fail(0)?, 0, low),
            )
        }
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let (wanted_high, wanted_low) = halves(argument.value_two().unwrap_or(0));
            let high_equal = jump(JUMP_EQUAL, 0, fail(3)?, wanted_high);
            let low_equal = jump(JUMP_EQUAL, 0, fail(0)?, wanted_low);
            vec![
                load_high,
                plain(AND, high),
                high_equal,
                load_low,
                plain(AND, low),
                low_equal,
            ]
        }
    })
}

/// The instructions that load the halves of an argument from what the kernel shows to the program.
fn loads(argument: &LinuxSeccompArg) -> Result<(Instruction, Instruction), ExecError> {
    let index = u32::try_from(argument.index())
        .ok()
        .filter(|&index| index < 6);
    let index =
        index.ok_or_else(|| ExecError::other("seccomp: a system call has six arguments"))?;
    let at = ARGUMENTS + 8 * index;
    let little = cfg!(target_endian = "little");
    let (low, high) = if little { (at, at + 4) } else { (at + 4, at) };
    Ok((plain(LOAD_WORD, high), plain(LOAD_WORD, low)))
}

/// A binary search: each step is the first number of a range and the code for it.
fn tree(steps: &[(u32, Code)]) -> Result<Code, ExecError> {
    let middle = steps.len() / 2;
    let (below, above) = steps.split_at(middle);
    let Some((pivot, only)) = above.first() else {
        return Ok(Code::new());
    };
    if below.is_empty() {
        return Ok(only.clone());
    }
    let (left, right) = (tree(below)?, tree(above)?);
    let mut code = match u8::try_from(left.len()) {
        Ok(over) => {
            vec![Instruction {
                code: JUMP_GREATER_EQUAL,
                yes: over,
                no: 0,
                operand: *pivot,
            }]
        }
        Err(_far) => vec![
            Instruction {
                code: JUMP_GREATER_EQUAL,
                yes: 0,
                no: 1,
                operand: *pivot,
            },
            plain(JUMP, distance(left.len())?),
        ],
    };
    code.extend(left);
    code.extend(right);
    Ok(code)
}

const fn jump(code: u16, yes: u8, no: u8, operand: u32) -> Instruction {
    Instruction {
        code,
        yes,
        no,
        operand,
    }
}

const fn plain(code: u16, operand: u32) -> Instruction {
    Instruction {
        code,
        yes: 0,
        no: 0,
        operand,
    }
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

fn distance(length: usize) -> Result<u32, ExecError> {
    u32::try_from(length).map_err(|_far| too_far())
}

fn too_far() -> ExecError {
    ExecError::other("seccomp: the profile is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const X86_64: u32 = 0xc000_003e;

    /// Runs a program as the kernel does.
    fn decide(filter: &Filter, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [number, arch, 0, 0].map(u32::to_ne_bytes).concat();
        arguments
            .iter()
            .for_each(|one| data.extend(one.to_ne_bytes()));
        let (mut at, mut register) = (0, 0);
        loop {
            let one = filter.program[at];
            let operand = one.operand as usize;
            at += 1;
            let skip = |holds| usize::from(if holds { one.yes } else { one.no });
            match one.code {
                LOAD_WORD => {
                    register = u32::from_ne_bytes(data[operand..operand + 4].try_into().unwrap());
                }
                AND => register &= one.operand,
                JUMP => at += operand,
                JUMP_EQUAL => at += skip(register == one.operand),
                JUMP_GREATER => at += skip(register > one.operand),
                JUMP_GREATER_EQUAL => at += skip(register >= one.operand),
                RETURN => return one.operand,
                other => panic!("unknown instruction {other}"),
            }
        }
    }

    fn filter(json: &str) -> Filter {
        compile(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn each_call_gets_its_action_and_others_the_default() {
        let filter = filter(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
            {"names": ["read", "write", "mkdir", "nosuchcall"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#,
        );
        let call = |number| decide(&filter, X86_64, number, [0; 6]);
        assert_eq!((call(0), call(1), call(83)), (ALLOW, ALLOW, ALLOW));
        assert_eq!(
            (call(2), call(82), call(84)),
            (0x5_0001, 0x5_0001, 0x5_0001)
        );
        assert_eq!(call(435), UNKNOWN_CALL);
        assert_eq!(call(0x4000_0000), KILL_THREAD);
        assert_eq!(decide(&filter, 0x4000_0003, 3, [0; 6]), ALLOW);
        assert_eq!(decide(&filter, 0x4000_0003, 0, [0; 6]), 0x5_0001);
        assert_eq!(decide(&filter, 0xc000_00b7, 63, [0; 6]), KILL_THREAD);
    }

    #[test]
    fn what_is_newer_than_a_profile_that_denies_is_unknown_and_not_refused() {
        let of = |default: &str, architectures: &str| {
            filter(&format!(
                r#"{{"defaultAction": "{default}", "architectures": [{architectures}],
                "syscalls": [{{"names": ["read", "mkdir"], "action": "SCMP_ACT_ALLOW"}}]}}"#
            ))
        };
        let both = of("SCMP_ACT_ERRNO", r#""SCMP_ARCH_X86_64", "SCMP_ARCH_X32""#);
        for base in [0, X32] {
            let call = |number: u32| decide(&both, X86_64, base | number, [0; 6]);
            assert_eq!((call(0), call(83)), (ALLOW, ALLOW));
            assert_eq!((call(1), call(82)), (0x5_0001, 0x5_0001));
            assert_eq!((call(84), call(500)), (UNKNOWN_CALL, UNKNOWN_CALL));
        }
        let allows = of("SCMP_ACT_ALLOW", r#""SCMP_ARCH_X86_64""#);
        assert_eq!(decide(&allows, X86_64, 500, [0; 6]), ALLOW);
    }

    /// An operator, its value and second value, arguments for which it holds, and others.
    type Comparison = (&'static str, u64, u64, &'static [u64], &'static [u64]);

    const COMPARISONS: [Comparison; 7] = [
        (
            "EQ",
            0x1_0000_0002,
            0,
            &[0x1_0000_0002],
            &[2, 0x1_0000_0000, 0x2_0000_0002],
        ),
        ("NE", 40, 0, &[41, 0x1_0000_0028, 0], &[40]),
        (
            "GT",
            0x1_0000_0002,
            0,
            &[0x1_0000_0003, 0x2_0000_0000],
            &[0x1_0000_0002, 3],
        ),
        (
            "GE",
            0x1_0000_0002,
            0,
            &[0x1_0000_0002, 0x2_0000_0000],
            &[0x1_0000_0001, 9],
        ),
        (
            "LT",
            0x1_0000_0002,
            0,
            &[0x1_0000_0001, 9],
            &[0x1_0000_0002, 0x2_0000_0000],
        ),
        (
            "LE",
            0x1_0000_0002,
            0,
            &[0x1_0000_0002, 9],
            &[0x1_0000_0003, 0x2_0000_0000],
        ),
        (
            "MASKED_EQ",
            0x7e02_0000,
            0,
            &[0x11, 0x1_0000_0000],
            &[0x0002_0000, 0x4000_0000],
        ),
    ];

    #[test]
    fn arguments_are_compared_with_64_bits() {
        for (operator, value, second, holding, failing) in COMPARISONS {
            let filter = filter(&format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["clone"],
                "action": "SCMP_ACT_ALLOW", "args": [{{"index": 3, "value": {value},
                "valueTwo": {second}, "op": "SCMP_CMP_{operator}"}}]}}]}}"#
            ));
            let call = |argument| decide(&filter, X86_64, 56, [0, 0, 0, argument, 0, 0]);
            for &argument in holding {
                assert_eq!(call(argument), ALLOW, "{argument:#x} {operator} {value:#x}");
            }
            for &argument in failing {
                assert_eq!(
                    call(argument),
                    0x5_0001,
                    "{argument:#x} {operator} {value:#x}"
                );
            }
        }
    }

    #[test]
    fn all_comparisons_of_a_rule_must_hold_and_any_rule_may() {
        let filter = filter(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args":
              [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}]},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args":
              [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
        );
        let call = |a, b| decide(&filter, X86_64, 135, [a, b, 0, 0, 0, 0]);
        assert_eq!((call(8, 3), call(0, 7)), (ALLOW, ALLOW));
        assert_eq!((call(8, 4), call(9, 3)), (0x5_0001, 0x5_0001));
    }

    #[test]
    fn the_saved_filter_is_the_same() {
        let filter = filter(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}"#,
        );
        assert_eq!(Filter::from_bytes(&filter.to_bytes()).unwrap(), filter);
        assert!(Filter::from_bytes(&[1, 2, 3, 4, 5]).is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let compile = |json| compile(&serde_json::from_str(json).unwrap());
        for json in [
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}"#,
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}"#,
        ] {
            compile(json).unwrap_err();
        }
    }
}
