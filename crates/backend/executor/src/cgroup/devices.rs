//! Which devices a container may use: rules for v1's files, an eBPF program for v2.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use arca_sys::cgroup_device::{EbpfInstruction, attach_device_program, load_device_program};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::dirs;
use crate::error::{Context, ExecError};

/// What a rule is about; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
}

/// The rules taken together: everything or nothing, but for exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    allow: bool,
    /// Bits of `BPF_DEVCG_ACC_*`: never empty.
    exceptions: Vec<(Device, u8)>,
}

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;

/// What every container may use besides: major and minor of the character devices that it finds in
/// `/dev` and of terminals. Making nodes is harmless, since using them takes a rule of its own.
const ALWAYS: [(i64, Option<i64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// The rules of the configuration, and those of every container behind them.
fn complete(rules: &[LinuxDeviceCgroup]) -> Vec<LinuxDeviceCgroup> {
    let allow = |kind, access: &str| {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(kind))
            .set_access(Some(access.to_owned()));
        rule
    };
    let nodes = [LinuxDeviceType::C, LinuxDeviceType::B].map(|kind| allow(kind, "m"));
    let devices = ALWAYS.map(|(major, minor)| {
        let mut rule = allow(LinuxDeviceType::C, "rwm");
        rule.set_major(Some(major)).set_minor(minor);
        rule
    });
    rules.iter().cloned().chain(nodes).chain(devices).collect()
}

/// Writes the rules, one after the other, as v1 takes them.
pub(super) fn apply_v1(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), ExecError> {
    for rule in &complete(rules) {
        let file = if rule.allow() {
            "devices.allow"
        } else {
            "devices.deny"
        };
        let value = match kind(rule) {
            None => "a".to_owned(),
            Some(block) => {
                let number = |number: Option<u32>| {
                    number.map_or_else(|| "*".to_owned(), |number| number.to_string())
                };
                let device = Device::of(rule, block);
                let access = rule.access().as_deref().unwrap_or("rwm");
                let letter = if block { 'b' } else { 'c' };
                format!(
                    "{letter} {}:{} {access}",
                    number(device.major),
                    number(device.minor)
                )
            }
        };
        dirs::write(dir, file, &value)?;
    }
    Ok(())
}

/// Loads and attaches a program that decides as the rules do.
pub(super) fn apply_v2(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), ExecError> {
    let program = load_device_program(&Policy::of(&complete(rules)).program())
        .context(|| "failed to load the device filter")?;
    let cgroup = File::open(dir).context(|| format!("open {}", dir.display()))?;
    attach_device_program(cgroup.as_fd(), program.as_fd())
        .context(|| "failed to attach the device filter")
}

/// Returns whether the rule is about block devices; `None` when it is about all devices.
fn kind(rule: &LinuxDeviceCgroup) -> Option<bool> {
    match rule.typ() {
        None | Some(LinuxDeviceType::A | LinuxDeviceType::P) => None,
        Some(LinuxDeviceType::B) => Some(true),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(false),
    }
}

impl Device {
    fn of(rule: &LinuxDeviceCgroup, block: bool) -> Self {
        let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        Self {
            block,
            major: number(rule.major()),
            minor: number(rule.minor()),
        }
    }
}

impl Policy {
    /// Takes the rules in their order, as the v1 controller does.
    fn of(rules: &[LinuxDeviceCgroup]) -> Self {
        let mut policy = Self {
            allow: false,
            exceptions: Vec::new(),
        };
        for rule in rules {
            match kind(rule) {
                None => {
                    policy = Self {
                        allow: rule.allow(),
                        exceptions: Vec::new(),
                    }
                }
                Some(block) => policy.take(Device::of(rule, block), rule),
            }
        }
        policy
    }

    fn take(&mut self, device: Device, rule: &LinuxDeviceCgroup) {
        let access = rule
            .access()
            .as_deref()
            .unwrap_or("rwm")
            .bytes()
            .fold(0, |all, letter| {
                all | match letter {
                    b'r' => READ,
                    b'w' => WRITE,
                    b'm' => MKNOD,
                    _ => 0,
                }
            });
        let known = self.exceptions.iter_mut().find(|(one, _)| *one == device);
        match known {
            Some((_, bits)) if rule.allow() == self.allow => *bits &= !access,
            Some((_, bits)) => *bits |= access,
            None if rule.allow() == self.allow => {}
            None => self.exceptions.push((device, access)),
        }
        self.exceptions.retain(|(_, bits)| *bits != 0);
    }

    /// `r2` is the type, `r3` the access, `r4:r5` the device; `r0` is the verdict.
    fn program(&self) -> Vec<EbpfInstruction> {
        let mut code = vec![
            load(2, 0),
            operation(0xbf, 3, 2, 0),
            operation(0x77, 3, 0, 16),
            operation(0x57, 2, 0, 0xffff),
            load(4, 4),
            load(5, 8),
        ];
        for (device, access) in &self.exceptions {
            code.extend(self.exception(*device, *access));
        }
        code.extend(verdict(self.allow));
        code
    }

    /// Jumps behind itself when the request is not about this exception.
    fn exception(&self, device: Device, access: u8) -> Vec<EbpfInstruction> {
        const JUMP_EQUAL: u8 = 0x15;
        const JUMP_NOT_EQUAL: u8 = 0x55;
        let mut tests = vec![operation(
            JUMP_NOT_EQUAL,
            2,
            0,
            if device.block { 1 } else { 2 },
        )];
        for (register, number) in [(4, device.major), (5, device.minor)] {
            // The comparison is of 64 bits with a signed operand: device numbers have 20 bits.
            if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
                tests.push(operation(JUMP_NOT_EQUAL, register, 0, number));
            }
        }
        tests.push(operation(0xbf, 6, 3, 0));
        if self.allow {
            tests.push(operation(0x57, 6, 0, access.into()));
            tests.push(operation(JUMP_EQUAL, 6, 0, 0));
        } else {
            tests.push(operation(0x57, 6, 0, i32::from(7 & !access)));
            tests.push(operation(JUMP_NOT_EQUAL, 6, 0, 0));
        }
        tests.extend(verdict(!self.allow));
        let length = i16::try_from(tests.len()).unwrap_or(i16::MAX);
        for (at, test) in (0i16..).zip(&mut tests) {
            if matches!(test.code, JUMP_EQUAL | JUMP_NOT_EQUAL) {
                test.offset = length - at - 1;
            }
        }
        tests
    }
}

fn verdict(allow: bool) -> [EbpfInstruction; 2] {
    [
        operation(0xb7, 0, 0, allow.into()),
        operation(0x95, 0, 0, 0),
    ]
}

/// `rN = *(u32 *)(r1 + offset)`
fn load(register: u8, offset: i16) -> EbpfInstruction {
    EbpfInstruction {
        code: 0x61,
        registers: register | 1 << 4,
        offset,
        operand: 0,
    }
}

fn operation(code: u8, destination: u8, source: u8, operand: i32) -> EbpfInstruction {
    EbpfInstruction {
        code,
        registers: destination | source << 4,
        offset: 0,
        operand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).unwrap()
    }

    /// Runs the program as the kernel does.
    fn decide(policy: &Policy, block: bool, major: u64, minor: u64, access: u64) -> bool {
        let context = [access << 16 | if block { 1 } else { 2 }, major, minor];
        let program = policy.program();
        let (mut at, mut registers) = (0_usize, [0_u64; 10]);
        loop {
            let one = program[at];
            let (to, from) = (
                usize::from(one.registers & 15),
                usize::from(one.registers >> 4),
            );
            let operand = u64::try_from(one.operand).unwrap();
            let jump = usize::try_from(one.offset).unwrap();
            at += 1;
            match one.code {
                0x61 => registers[to] = context[jump / 4],
                0xbf => registers[to] = registers[from],
                0x77 => registers[to] >>= operand,
                0x57 => registers[to] &= operand,
                0xb7 => registers[to] = operand,
                0x15 if registers[to] == operand => at += jump,
                0x55 if registers[to] != operand => at += jump,
                0x15 | 0x55 => {}
                0x95 => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn a_list_of_what_is_allowed_allows_that_alone() {
        let policy = Policy::of(&rules(
            r#"[{"allow": true, "type": "c", "major": 7, "minor": 7, "access": "rwm"},
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"},
            {"allow": true, "type": "c", "major": 136, "access": "r"},
            {"allow": true, "type": "c", "major": 136, "access": "w"},
            {"allow": true, "type": "b", "access": "m"},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]"#,
        ));
        let (m, r, w) = (1, 2, 4);
        assert!(decide(&policy, false, 1, 3, r | w) && decide(&policy, false, 1, 3, r));
        assert!(!decide(&policy, false, 1, 3, m) && !decide(&policy, true, 1, 3, r));
        assert!(decide(&policy, false, 136, 9, r | w) && !decide(&policy, false, 136, 9, m));
        assert!(decide(&policy, true, 8, 1, m) && !decide(&policy, true, 8, 1, r));
        assert!(!decide(&policy, false, 10, 229, r) && !decide(&policy, false, 7, 7, r));
    }

    #[test]
    fn a_list_of_what_is_denied_denies_that_alone() {
        let policy = Policy::of(&rules(
            r#"[{"allow": true, "access": "rwm"},
            {"allow": false, "type": "b", "major": 8, "access": "rw"},
            {"allow": true, "type": "b", "major": 8, "access": "r"}]"#,
        ));
        assert!(decide(&policy, false, 1, 3, 7) && decide(&policy, true, 8, 0, 2));
        assert!(!decide(&policy, true, 8, 0, 4) && !decide(&policy, true, 8, 0, 6));
    }

    #[test]
    fn the_kernel_takes_the_program() {
        let some = rules(
            r#"[{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "b", "access": "m"}]"#,
        );
        load_device_program(&Policy::of(&some).program()).unwrap();
        let all = rules(r#"[{"allow": true}, {"allow": false, "type": "b", "access": "rw"}]"#);
        load_device_program(&Policy::of(&all).program()).unwrap();
    }
}
