# Writes FILES (separated by |) as raw string literals into OUTPUT.
string(REPLACE "|" ";" files "${FILES}")
set(text "// Generated from data files; do not edit.\n")
string(APPEND text "#include \"estimators/embedded_text.h\"\n\n")
string(APPEND text "namespace tidegate::internal {\nnamespace {\n\n")
# The suffix states the length: counting a long text's characters is beyond what
# compilers do at compile time.
string(APPEND text "using namespace std::string_view_literals;\n\n")
string(APPEND text "constexpr EmbeddedText kTexts[] = {\n")
foreach(file ${files})
  get_filename_component(base "${file}" NAME)
  file(READ "${file}" content)
  string(APPEND text "    {\"${base}\",\n     R\"~~~~(${content})~~~~\"sv},\n")
endforeach()
string(APPEND text "};\n\n}  // namespace\n\n")
string(APPEND text "std::span<const EmbeddedText> ${NAME}() { return kTexts; }\n\n")
string(APPEND text "}  // namespace tidegate::internal\n")
file(WRITE "${OUTPUT}" "${text}")
