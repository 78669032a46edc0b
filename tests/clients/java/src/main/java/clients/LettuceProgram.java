package clients; public final class LettuceProgram { }
