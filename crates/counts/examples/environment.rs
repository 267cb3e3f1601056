//! Says what instruction counts depend on beside the code: the processor's features that this build
//! was made for, and those that code which asks at run time finds. `make counts` runs it under
//! valgrind, whose processor is not quite the machine's.

/// Those of `$features` that the compiler may use, and those that are found.
macro_rules! features {
    ($detected:ident: $($feature:tt)*) => {
        (
            vec![$((cfg!(target_feature = $feature), $feature)),*],
            vec![$((std::arch::$detected!($feature), $feature)),*],
        )
    };
}

type Features = Vec<(bool, &'static str)>;

fn main() {
    let (made_for, found) = features();
    print("made for", &made_for);
    print("found", &found);
}

fn print(what: &str, features: &Features) {
    let there = features.iter().filter(|(there, _)| *there);
    let names: Vec<_> = there.map(|(_, name)| *name).collect();
    println!("{what}: {}", names.join(" "));
}

#[cfg(target_arch = "x86_64")]
fn features() -> (Features, Features) {
    features![is_x86_feature_detected:
        "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "pclmulqdq" "aes" "sha" "lzcnt" "bmi1"
        "bmi2" "movbe" "fma" "avx" "avx2" "avx512f" "avx512bw" "avx512vl" "vpclmulqdq" "gfni"
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> (Features, Features) {
    features![is_aarch64_feature_detected: "neon" "aes" "sha2" "sha3" "crc" "lse" "sve" "sve2" "dotprod"]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> (Features, Features) {
    (Vec::new(), Vec::new())
}
