package clients;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** What both Java programs share: the addresses to test, small assertions, and the report printed last. */
final class Report {
    static final String HOST = System.getenv("MILLPOND_HOST");
    static final int PORT = Integer.parseInt(System.getenv("MILLPOND_PORT"));
    static final int NO_HELLO_PORT = Integer.parseInt(System.getenv("MILLPOND_NO_HELLO_PORT"));
    static final String PASSWORD = System.getenv("MILLPOND_PASSWORD");
    static final int MIB = 1 << 20;
    /** Longer than any healthy check: a lost reply must become a failure, not a hang. */
    private static final long CHECK_SECONDS = 20;

    interface Check {
        void run() throws Exception;
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    private final String client;
    private final String version;
    private final Map<String, String> checks = new LinkedHashMap<>();
    private final ExecutorService runner = Executors.newCachedThreadPool(work -> {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        return thread;
    });

    Report(String client, String version) {
        this.client = client;
        this.version = version;
    }

    /** Host and port of the server with a password; a check that asks fails when there is none. */
    static Map.Entry<String, Integer> passwordAddress() {
        if (System.getenv("MILLPOND_PASSWORD_PORT").isEmpty()) {
            throw new AssertionError("no server with a password: give --password-address");
        }
        return Map.entry(System.getenv("MILLPOND_PASSWORD_HOST"), Integer.parseInt(System.getenv("MILLPOND_PASSWORD_PORT")));
    }

    /** The version in the name of the archive that a library comes from. */
    static String versionOf(Class<?> library) {
        String archive = library.getProtectionDomain().getCodeSource().getLocation().getPath();
        return archive.replaceAll(".*-(\\d[^/]*)\\.jar", "$1");
    }

    void run(String name, Check check) throws InterruptedException {
        same(checks.containsKey(name), false);
        Future<?> done = runner.submit(() -> {
            check.run();
            return null;
        });
        try {
            done.get(CHECK_SECONDS, TimeUnit.SECONDS);
            checks.put(name, "ok");
        } catch (TimeoutException late) {
            checks.put(name, "not finished after " + CHECK_SECONDS + " s");
        } catch (ExecutionException failed) {
            Throwable reason = failed.getCause();
            String place = "?";
            for (StackTraceElement frame : reason.getStackTrace()) {
                if (frame.getClassName().startsWith("clients.") && !frame.getClassName().startsWith("clients.Report")) {
                    place = frame.getFileName() + ":" + frame.getLineNumber();
                    break;
                }
            }
            String text = String.valueOf(reason);
            checks.put(name, place + ": " + text.substring(0, Math.min(400, text.length())));
        }
    }

    void print() {
        StringBuilder line = new StringBuilder("{\"client\":" + quote(client) + ",\"version\":" + quote(version) + ",\"checks\":{");
        String comma = "";
        for (Map.Entry<String, String> check : checks.entrySet()) {
            line.append(comma).append(quote(check.getKey())).append(':').append(quote(check.getValue()));
            comma = ",";
        }
        System.out.println(line.append("}}"));
        System.out.flush();
        // Clients that still try to connect must not keep the process alive.
        Runtime.getRuntime().halt(0);
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            quoted.append(c == '"' || c == '\\' ? "\\" + c : c < ' ' || c > '~' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return quoted.append('"').toString();
    }

    static void same(Object actual, Object wanted) {
        if (!Objects.deepEquals(actual, wanted)) {
            throw new AssertionError("got " + cut(actual) + ", wanted " + cut(wanted));
        }
    }

    private static String cut(Object value) {
        String text = value + (value == null ? "" : " (" + value.getClass().getSimpleName() + ")");
        return text.length() > 200 ? text.substring(0, 200) : text;
    }

    static void between(long low, long actual, long high) {
        if (actual < low || actual > high) {
            throw new AssertionError("got " + actual + ", wanted " + low + " to " + high);
        }
    }

    static void has(String text, String... parts) {
        for (String part : parts) {
            if (!text.contains(part)) {
                throw new AssertionError("no " + part + " in " + cut(text));
            }
        }
    }

    /** Fails unless the check throws the kind, with the text in the message of it or of a cause. */
    static void raises(Class<? extends Throwable> kind, String text, Check check) {
        try {
            check.run();
        } catch (Throwable error) {
            if (!kind.isInstance(error)) {
                throw new AssertionError("got " + error + ", wanted a " + kind.getSimpleName(), error);
            }
            StringBuilder chain = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                if (String.valueOf(cause.getMessage()).contains(text)) {
                    return;
                }
                chain.append(chain.isEmpty() ? "" : " because of ").append(cause);
            }
            throw new AssertionError("got " + chain + ", wanted the text " + text, error);
        }
        throw new AssertionError("no error, wanted one with " + text);
    }

    /** Asks until the condition holds, at most five seconds. */
    static void eventually(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(5);
        while (!condition.holds()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(what + " is not so after 5 s");
            }
            Thread.sleep(5);
        }
    }

    /** Runs the work in many threads at once and passes on the first failure. */
    static void together(int count, Check work) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        try {
            CompletableFuture<?>[] all = new CompletableFuture<?>[count];
            for (int i = 0; i < count; i++) {
                all[i] = CompletableFuture.runAsync(() -> {
                    try {
                        work.run();
                    } catch (Exception error) {
                        throw new IllegalStateException(error);
                    }
                }, threads);
            }
            CompletableFuture.allOf(all).get();
        } finally {
            threads.shutdownNow();
        }
    }

    static byte[] everyByte() {
        byte[] bytes = new byte[1280];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) i;
        }
        return bytes;
    }

    /** A block of one MiB of the same byte. */
    static byte[] block(int filler) {
        byte[] bytes = new byte[MIB];
        java.util.Arrays.fill(bytes, (byte) filler);
        return bytes;
    }
}
