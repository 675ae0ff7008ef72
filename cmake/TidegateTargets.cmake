# tidegate_library(NAME DIR d PUBLIC … PRIVATE …)
#   A static library of every .cc file in one folder: a file that lies there is
#   built, so none is forgotten.
function(tidegate_library name)
  cmake_parse_arguments(ARG "" "DIR" "PUBLIC;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_DIR}/*.cc")
  if(sources)
    add_library(${name} STATIC ${sources})
    target_include_directories(${name}
      PUBLIC "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>"
             "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
      PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_BINARY_DIR}")
    target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE
      "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>"
      "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
    target_link_libraries(${name} INTERFACE ${ARG_PUBLIC})
  endif()
endfunction()

# tidegate_embed_text(NAME n FILES …)
#   Compiles text files into `std::span<const EmbeddedText> n()`; see
#   estimators/embedded_text.h. Sets n_SOURCE to the generated file.
function(tidegate_embed_text)
  cmake_parse_arguments(ARG "" "NAME" "FILES" ${ARGN})
  set(source "${CMAKE_BINARY_DIR}/generated/${ARG_NAME}.cc")
  set(files)
  foreach(file ${ARG_FILES})
    list(APPEND files "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  endforeach()
  string(REPLACE ";" "|" joined "${files}")
  add_custom_command(
    OUTPUT "${source}"
    COMMAND "${CMAKE_COMMAND}" -DNAME=${ARG_NAME} "-DFILES=${joined}"
            "-DOUTPUT=${source}" -P "${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake"
    DEPENDS ${files} "${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake"
    VERBATIM)
  set(${ARG_NAME}_SOURCE "${source}" PARENT_SCOPE)
endfunction()
