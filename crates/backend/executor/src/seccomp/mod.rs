//! Seccomp: from the rules of the configuration to the program that the kernel runs.

mod compile;
mod numbers;

use arca_sys::seccomp::Instruction;

pub(crate) use compile::compile;

use crate::error::{Context, ExecError};

/// A finished filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `SECCOMP_FILTER_FLAG_*`.
    flags: u32,
    program: Vec<Instruction>,
}

impl Filter {
    /// Puts the filter into force for this process.
    pub(crate) fn load(&self) -> Result<(), ExecError> {
        arca_sys::seccomp::load_filter(&self.program, self.flags)
            .context(|| "error loading seccomp filter into kernel")?;
        Ok(())
    }

    /// Returns the filter as bytes: the flags, then eight bytes for each instruction.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.flags.to_ne_bytes().to_vec();
        for one in &self.program {
            bytes.extend(one.code.to_ne_bytes());
            bytes.extend([one.yes, one.no]);
            bytes.extend(one.operand.to_ne_bytes());
        }
        bytes
    }

    /// Reads what [`Filter::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ExecError> {
        let broken = || ExecError::other("the saved seccomp filter is damaged");
        let (flags, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let (chunks, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() {
            return Err(broken());
        }
        let instruction = |&[c0, c1, yes, no, k0, k1, k2, k3]: &[u8; 8]| Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            yes,
            no,
            operand: u32::from_ne_bytes([k0, k1, k2, k3]),
        };
        let program = chunks.iter().map(instruction).collect();
        Ok(Self {
            flags: u32::from_ne_bytes(*flags),
            program,
        })
    }
}
