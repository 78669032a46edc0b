use crate::testkit::Testkit;
