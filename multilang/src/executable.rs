//! The program of the children, found before anything is started.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// A program that cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names suffice")]
pub enum ExecutableError {
    /// There is no such file.
    #[error("executableName: {program} is not found{place}")]
    #[non_exhaustive]
    NotFound { program: String, place: &'static str },
    /// It is a folder, or lacks the permission.
    #[error("executableName: {path} is not an executable file")]
    #[non_exhaustive]
    NotExecutable { path: String },
}

/// Finds a program: a path if it has a slash, else in the folders of `PATH`, as a shell does.
pub(crate) fn find(program: &str, path: Option<&OsStr>) -> Result<PathBuf, ExecutableError> {
    let not_executable = |path: &Path| ExecutableError::NotExecutable { path: path.display().to_string() };
    let not_found = |place| ExecutableError::NotFound { program: program.to_owned(), place };
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match (path.exists(), is_executable(&path)) {
            (_, true) => Ok(path),
            (true, false) => Err(not_executable(&path)),
            (false, false) => Err(not_found("")),
        };
    }
    let mut unfit = None;
    for folder in path.map(std::env::split_paths).into_iter().flatten() {
        let candidate = folder.join(program);
        if is_executable(&candidate) {
            return Ok(candidate);
        }
        if candidate.exists() {
            unfit.get_or_insert(candidate);
        }
    }
    Err(unfit.map_or_else(
        || not_found(" on the PATH; a path of its own needs a slash, as in ./app.py"),
        |path| not_executable(&path),
    ))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file() || path.with_extension("exe").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn programs_are_found_by_path_or_on_the_path() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let (fit, unfit) = (folder.path().join("fit"), folder.path().join("unfit"));
        std::fs::write(&fit, "").unwrap();
        std::fs::write(&unfit, "").unwrap();
        std::fs::set_permissions(&fit, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::join_paths([Path::new("/no/such"), folder.path()]).unwrap();
        let text = |path: &Path| path.display().to_string();

        assert_eq!(find("fit", Some(&path)), Ok(fit.clone()));
        assert_eq!(find(&text(&fit), None), Ok(fit));
        let unfit_error = format!("executableName: {} is not an executable file", unfit.display());
        assert_eq!(find("unfit", Some(&path)).unwrap_err().to_string(), unfit_error);
        assert_eq!(find(&text(&unfit), None).unwrap_err().to_string(), unfit_error);
        assert!(find(&text(folder.path()), None).unwrap_err().to_string().ends_with("is not an executable file"));
        assert_eq!(find("/no/such", None).unwrap_err().to_string(), "executableName: /no/such is not found");
        assert!(find("absent", Some(&path)).unwrap_err().to_string().contains("absent is not found on the PATH"));
    }
}
