# Compiler settings shared by every target.

option(TIDEGATE_BUILD_TESTS "Build the tests and examples" ON)
option(TIDEGATE_BUILD_BENCH "Build the benchmarks" ON)
option(TIDEGATE_BUILD_PYTHON "Build the Python package; needs nanobind" OFF)
option(TIDEGATE_LLAMACPP "Build the llama.cpp adapter; needs an installed llama.cpp" OFF)
set(TIDEGATE_SANITIZE "" CACHE STRING "address | thread, or empty")
option(TIDEGATE_FUZZ "Build the fuzzers of tests/fuzz (clang only)" OFF)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_compile_options(-Wall -Wextra -Wno-sign-compare)
# A missing designated initialiser means the default that the header states.
add_compile_options(-Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms about std::string::insert (GCC bug 105651).
  add_compile_options(-Wno-restrict)
endif()

if(TIDEGATE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer
                      -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(TIDEGATE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(TIDEGATE_SANITIZE)
  message(FATAL_ERROR "TIDEGATE_SANITIZE: expected address or thread, "
                      "got '${TIDEGATE_SANITIZE}'")
endif()

if(TIDEGATE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "TIDEGATE_FUZZ: expected clang++, whose libFuzzer it "
                        "needs, got ${CMAKE_CXX_COMPILER_ID}")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
