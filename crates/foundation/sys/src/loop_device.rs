//! Loop devices: files as block devices (loop(4)).
#![expect(unsafe_code, reason = "this crate wraps system calls")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

// linux/loop.h
const CTL_GET_FREE: libc::Ioctl = 0x4C82;
const CONFIGURE: libc::Ioctl = 0x4C0A;
const AUTOCLEAR: u32 = 4;
const NAME_LENGTH: usize = 64;

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    raw_device: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: u32,
    key_size: u32,
    flags: u32,
    file_name: [u8; NAME_LENGTH],
    encryption_name: [u8; NAME_LENGTH],
    key: [u8; 32],
    initialisation: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device that shows a file, open for reading and writing.
#[derive(Debug)]
pub struct LoopDevice {
    /// The device, open. It is detached from its file when nobody has it open or mounted any more.
    pub device: File,
    /// Its path below `/dev`.
    pub path: PathBuf,
}

/// Makes `file` the content of a free loop device, which lets go of it by itself when it is neither open
/// nor mounted any more (`LOOP_CONFIGURE`, Linux 5.8).
///
/// The device keeps `file`'s description open, and with it a lock of flock(2) on that.
///
/// # Errors
/// What open(2) says of `/dev/loop-control` and of the device, `EBUSY` when others took every device that
/// was free, `EINVAL` before Linux 5.8.
pub fn attach_loop(file: BorrowedFd<'_>) -> io::Result<LoopDevice> {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    let mut last = io::Error::from_raw_os_error(libc::EBUSY);
    // Between asking for a free one and taking it, another process may be faster.
    for _ in 0..64 {
        // SAFETY: `control` is open for the whole call; this request has no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open_device(&path, number.unsigned_abs())?;
        match configure(&device, file) {
            Ok(()) => return Ok(LoopDevice { device, path }),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Opens the device; where nobody makes the nodes below `/dev` (no udev), it makes this one.
fn open_device(path: &std::path::Path, number: u32) -> io::Result<File> {
    let open = || File::options().read(true).write(true).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mode = rustix::fs::Mode::from_raw_mode(0o660);
            let device = rustix::fs::makedev(7, number);
            let kind = rustix::fs::FileType::BlockDevice;
            match rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => open(),
                Err(error) => Err(error.into()),
            }
        }
        opened => opened,
    }
}

fn configure(device: &File, file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `LoopConfig` consists of integers and arrays of them, for which zero is a valid value.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd().unsigned_abs();
    config.info.flags = AUTOCLEAR;
    // SAFETY: `device` and `file` are open for the whole call; `config` is initialised, outlives the call
    // and has the layout of `struct loop_config`, which is all that the kernel reads.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }

    #[test]
    fn a_device_shows_its_file_and_lets_go_of_it() {
        let mut file = tempfile_in("/tmp");
        file.write_all(&[b'x'; 4096]).unwrap();
        let mut device = attach_loop(file.as_fd()).unwrap();
        let mut start = [0; 4];
        device.device.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"xxxx");
        let name = device.path.file_name().unwrap().to_owned();
        drop(device);
        let backing = PathBuf::from("/sys/block")
            .join(name)
            .join("loop/backing_file");
        // Letting go is done by a worker of the kernel.
        for _ in 0..500 {
            if !backing.exists() {
                return;
            }
            std::thread::yield_now();
            drop(rustix::thread::nanosleep(&rustix::thread::Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            }));
        }
        panic!("the loop device is still attached");
    }

    /// An unnamed file.
    fn tempfile_in(directory: &str) -> File {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::open(directory, flags, mode).unwrap().into()
    }
}
