//! Lines in a few files of the folder `history`, the oldest of which make room.
//!
//! A line is written whole or, where the process or the machine dies meanwhile, in part: whoever appends next begins a new
//! line, and whoever reads leaves out what is none. A file is not changed once the next one is begun.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pglanes_admin::report::History;
use thiserror::Error;

use super::now;

/// The folder in the state folder.
const FOLDER: &str = "history";
/// How the files are called, behind the moment at which they were begun.
const ENDING: &str = ".jsonl";
/// Into how many files the size that is allowed is divided: the oldest goes as a whole.
const FILES: u64 = 8;
/// Files at most, whatever their size.
const MOST_FILES: usize = 64;
/// How many bytes more than allowed are read: a file that grew while it was looked at.
const MOST_READ: u64 = 9 << 30;

/// What may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long.
    pub(super) keep: Duration,
    /// How many bytes.
    pub(super) size: u64,
}

/// Why nothing can be written or read.
#[derive(Debug, Error)]
#[error("{}: {cause}", place.display())]
pub(crate) struct FilesError {
    place: PathBuf,
    cause: io::Error,
}

/// Where lines are appended.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
}

impl Files {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join(FOLDER),
            current: None,
        }
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// [`FilesError`]. The next attempt opens a file anew.
    pub(super) fn append(&mut self, lines: &str, bounds: &Bounds) -> Result<(), FilesError> {
        if lines.is_empty() {
            return Ok(());
        }
        let appended = self.try_append(lines, bounds);
        if appended.is_err() {
            self.current = None;
        }
        appended.map_err(|cause| FilesError {
            place: self.folder.clone(),
            cause,
        })
    }

    fn try_append(&mut self, lines: &str, bounds: &Bounds) -> io::Result<()> {
        let largest = (bounds.size / FILES).max(1);
        let is_full = |current: &Current| current.bytes >= largest;
        if self.current.as_ref().is_none_or(is_full) {
            let opened = self.open(largest)?;
            self.current = Some(opened);
            make_room(&self.folder, bounds)?;
        }
        if let Some(current) = &mut self.current {
            current.file.write_all(lines.as_bytes())?;
            current.bytes += lines.len() as u64;
        }
        Ok(())
    }

    /// The latest file while it has room, else a new one.
    fn open(&self, largest: u64) -> io::Result<Current> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        if let Some((path, bytes, _)) = list(&self.folder)?.pop()
            && bytes < largest
        {
            let mut file = options.open(path)?;
            // What was torn off is a line of its own.
            let mut last = [b'\n'];
            if bytes > 0 {
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
            }
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
            return Ok(Current { file, bytes });
        }
        // Names are in the order of time: as long as clocks go forward the latest is the last.
        let path = self.folder.join(format!("{:015}{ENDING}", now()));
        let file = options.open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Current { file, bytes })
    }
}

/// Removes the oldest files beyond what may be kept, all but the latest.
fn make_room(folder: &Path, bounds: &Bounds) -> io::Result<()> {
    let files = list(folder)?;
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    let mut count = files.len();
    // The latest grows by its part of the size yet.
    let room = bounds.size - bounds.size / FILES;
    for (path, size, changed) in files.iter().take(files.len().saturating_sub(1)) {
        let age = SystemTime::now()
            .duration_since(*changed)
            .unwrap_or_default();
        if bytes <= room && count <= MOST_FILES && age <= bounds.keep {
            break;
        }
        std::fs::remove_file(path)?;
        bytes -= size;
        count -= 1;
    }
    Ok(())
}

/// The files with their sizes and when they were changed last, oldest first.
fn list(folder: &Path) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().ends_with(ENDING) {
            continue;
        }
        let facts = entry.metadata()?;
        files.push((entry.path(), facts.len(), facts.modified()?));
    }
    files.sort();
    Ok(files)
}

/// What was written of the time from `since` on, and a little before for what is quiet.
///
/// # Errors
/// [`FilesError`]: that there is a history and it cannot be read.
pub(crate) fn read(state: &Path, since: u64) -> Result<History, FilesError> {
    let folder = state.join(FOLDER);
    let failed = |place: &Path, cause| FilesError {
        place: place.to_owned(),
        cause,
    };
    let files = match list(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(History::default()),
        Err(error) => return Err(failed(&folder, error)),
    };
    let since = SystemTime::UNIX_EPOCH + Duration::from_millis(since);
    let mut text = String::new();
    for (path, _, changed) in files {
        if changed < since {
            continue;
        }
        let read = File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MOST_READ).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        match read {
            // A line that was torn inside a letter is no line anyway.
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            // It has made room meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
        text.push('\n');
    }
    Ok(History::of_lines(text.lines()))
}

#[cfg(test)]
mod tests {
    use pglanes_admin::report::Record;

    use super::*;

    fn record(t: u64) -> Record {
        Record::Lanes {
            t,
            protected: Vec::new(),
        }
    }

    fn lines(count: u64) -> String {
        let lines = (1..=count).map(|t| serde_json::to_string(&record(t)).unwrap());
        lines.map(|line| line + "\n").collect()
    }

    const BOUNDS: Bounds = Bounds {
        keep: Duration::from_secs(3600),
        size: 80_000,
    };

    /// Removed when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("pglanes-history-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn files(&self) -> Vec<(PathBuf, u64, SystemTime)> {
            list(&self.0.join(FOLDER)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_appended_is_read_and_a_torn_line_costs_only_itself() {
        let folder = Folder::new("torn");
        assert_eq!(read(&folder.0, 0).unwrap(), History::default());
        let mut files = Files::new(&folder.0);
        files.append(&lines(3), &BOUNDS).unwrap();
        let whole = read(&folder.0, 0).unwrap();
        drop(files);
        let (path, ..) = folder.files().pop().unwrap();
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"k\":\"sample\",\"t\":4,\"lan").unwrap();
        assert_ne!(read(&folder.0, 0).unwrap(), whole, "it is counted");
        let mut files = Files::new(&folder.0);
        files.append(&lines(1), &BOUNDS).unwrap();
        assert_eq!(folder.files().len(), 1, "it goes on in the same file");
        let mut expected = History::of([1, 2, 3, 1].map(record));
        expected.count_unreadable(1);
        assert_eq!(read(&folder.0, 0).unwrap(), expected);
    }

    #[test]
    fn the_oldest_make_room_and_the_size_holds() {
        let folder = Folder::new("size");
        let mut files = Files::new(&folder.0);
        let text = lines(100);
        for _ in 0..100 {
            files.append(&text, &BOUNDS).unwrap();
            // Names are of milliseconds.
            std::thread::sleep(Duration::from_millis(2));
            let bytes: u64 = folder.files().iter().map(|(_, bytes, _)| bytes).sum();
            assert!(bytes <= BOUNDS.size + text.len() as u64, "{bytes}");
        }
        assert!(folder.files().len() > 2, "{:?}", folder.files());
    }

    #[test]
    fn what_is_too_old_goes() {
        let folder = Folder::new("age");
        let mut files = Files::new(&folder.0);
        let small = Bounds { size: 8, ..BOUNDS };
        files.append(&lines(1), &BOUNDS).unwrap();
        let (old, ..) = folder.files().pop().unwrap();
        let file = File::options().append(true).open(&old).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7200))
            .unwrap();
        std::thread::sleep(Duration::from_millis(2));
        // The next one is begun.
        let mut files = Files::new(&folder.0);
        files.append(&lines(1), &small).unwrap();
        assert!(!old.exists());
        assert_eq!(folder.files().len(), 1);
    }
}
