//! The packages that are compared.

pub(super) struct Packages<'l> {
    pub(super) conda: Vec<&'l rattler_lock::CondaPackageData>,
    pub(super) pypi: Vec<&'l rattler_lock::PypiPackageData>,
}

impl<'l> Packages<'l> {
    pub(super) fn of(packages: &[&'l rattler_lock::LockedPackage]) -> Self {
        let (mut conda, mut pypi) = (Vec::new(), Vec::new());
        for package in packages {
            match package {
                rattler_lock::LockedPackage::Conda(data) => conda.push(data),
                rattler_lock::LockedPackage::Pypi(data) => pypi.push(data),
            }
        }
        Self { conda, pypi }
    }
}
