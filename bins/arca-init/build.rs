//! Links arca-init statically: it is mounted into containers whose image may have no C library.
//!
//! cargo has no such setting for one package of a workspace, so the shared libraries that rustc names
//! are led to the static ones, by linker scripts that are found before them.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name| env::var_os(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_ENV") != "gnu" {
        return Ok(());
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    fs::write(
        out.join("libgcc_s.so"),
        "GROUP ( -l:libgcc.a -l:libgcc_eh.a )\n",
    )?;
    fs::write(
        out.join("libc.so"),
        "GROUP ( -l:libc.a -l:libgcc.a -l:libgcc_eh.a )\n",
    )?;
    println!("cargo::rustc-link-arg-bins=-L{}", out.display());
    println!("cargo::rustc-link-arg-bins=-static-pie");
    if variable("CARGO_CFG_TARGET_ARCH") == "x86_64" {
        // Nothing resolves a weak symbol at run time: it is absent, and its address zero.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,nodynamic-undefined-weak");
    }
    Ok(())
}
